"""Qwen2-VL-2B with random weights on one accelerator: how near update and decoding come to what the device can do.

    python benchmarks/gpu.py --json docs/benchmarks/gpu.json      # one GPU or TPU chip; under 9 minutes, unattended
    python benchmarks/gpu.py --tiny                               # dry run of every part on a CPU

Parts, the most important first, each saved as soon as it is there:
    rates           matmul and copy rate of the device
    parity          a small model on the device against float32 on the host's CPU (common/device_parity.py)
    decode          tokens and pictures read a second; decoding as achieved / floor of its memory traffic
    update          model FLOPs utilisation: the least FLOPs of common/cost.py / measured time / measured matmul rate,
                    rematerialisation not counted as work
    full_step       rollout, reference pass and update at the paper's shapes
    parity_cudnn    cuDNN's attention against XLA's, values and gradients; skipped but on NVIDIA
    update_lora, full_step_lora     the same with an adapter of rank 64 on a base in bfloat16

A part that fails, out of memory for instance, is recorded with its error and the next one runs. After --minutes no
further part is started, and a part that is still running 1.8 minutes later (a compiler that does not come back) ends
the process. Exit code 1: a part is missing, or a difference is larger than its tolerance; the JSON says which. TRL at
these shapes: gpu_trl.py.
"""

import argparse
import faulthandler
import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from common.adapter import RANK, update_flops, with_adapter
from common.checkpoint import model_config
from common.cost import PAPER, TINY, phases
from common.device_parity import against_host, cudnn_against_xla
from common.options import minutes
from common.problem import random_prompts
from common.rates import copy_rate, matmul_rate, seconds
from common.report import machine, save

from rrft_jax.config.defaults import base_config
from rrft_jax.config.groups import read
from rrft_jax.losses import Targets, grpo_loss
from rrft_jax.losses.trl import trl
from rrft_jax.models.attention import CHOICES, choose
from rrft_jax.models.registry import make_model
from rrft_jax.models.score import score
from rrft_jax.rollout.decoder import Decoder
from rrft_jax.rollout.sampler import sample
from rrft_jax.training.optimizer import make_optimizer
from rrft_jax.training.parameters import combine, parameter_count
from rrft_jax.training.step import Batch, init_state, make_forward, make_train_step

PARTS = (
    "setup", "rates", "parity", "decode", "update", "full_step", "parity_cudnn", "update_lora", "full_step_lora",
)  # fmt: skip
GRACE = 1.8  # minutes that the last part may take beyond --minutes


class Bench:
    """What the parts share; made on the device by one program, so that nothing large crosses the bus."""

    def __init__(self, args):
        self.tiny, self.attention = args.tiny, args.attention
        self.shapes = TINY if args.tiny else PAPER

    def setup(self, found: dict) -> dict:
        """Says in `found` as much about machine and device as is known before something fails."""
        if "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ:
            # The default leaves a quarter of the memory unused: too little is left on 80 GB for float32 parameters,
            # their copy, two moments and two gradients (50 GiB) and an update's activations.
            os.environ.setdefault("XLA_CLIENT_MEM_FRACTION", "0.92")
        found["machine"] = machine()
        found["device"] = jax.devices()[0].device_kind
        self._build()
        jax.block_until_ready(self.params)
        found |= {"shapes": vars(self.shapes), "attention": self.model.attention}
        return {}

    def _build(self) -> None:
        config = model_config("tiny" if self.tiny else "2B")
        dtype = "float32" if self.tiny else "bfloat16"
        self.model = make_model(config, dtype, "full", choose(self.attention, jax.default_backend(), dtype))
        self.config = config
        self.params = jax.jit(self.model.init_params)(jax.random.key(0))
        s = self.shapes
        self.prompts = jax.tree.map(jnp.asarray, random_prompts(config, s))
        self.tokens = jax.random.randint(jax.random.key(1), (s.B, s.G, s.C), 0, min(config.vocab_size, 1000) - 64)
        self.mask = jnp.ones((s.B, s.G, s.C), bool)
        bytes_each = 4 if self.tiny else 2
        self.cost = phases(config, s, bytes_each, bytes_each)
        self.allowed = np.arange(config.vocab_size) < config.vocab_size - 64
        optimizer, schedule = make_optimizer(read(base_config(), "optimizer"), 1000)
        self.optimizer = optimizer
        self.step = jax.jit(
            make_train_step(
                make_forward(self.model, None), partial(grpo_loss, config=trl("grpo", beta=0.04)), optimizer, schedule,
                micro_batches=s.B,
            ),
            donate_argnums=0,
        )  # fmt: skip
        self.sampler = jax.jit(
            partial(
                sample,
                Decoder(self.model, self.allowed, (config.eos_token_id,), config.pad_token_id, s.C, stop_at_eos=False),
                group=s.G,
            )
        )
        self.reference = jax.jit(lambda *batch: score(self.model, *batch, None)[0])

    def rates(self, found: dict) -> dict:
        dtype = self.model.compute_dtype
        size = 512 if self.tiny else 8192
        return {
            "matmul_flops_per_s": matmul_rate(size, dtype), "matmul": f"{size}^3 {dtype}",
            "copy_bytes_per_s": copy_rate(2**22 if self.tiny else 2**30),
        }  # fmt: skip

    def parity(self, found: dict) -> dict:
        return against_host(self.attention, self.tiny)

    def parity_cudnn(self, found: dict) -> dict:
        return cudnn_against_xla(self.tiny)

    def decode(self, found: dict) -> dict:
        key = jax.random.key(0)
        first = jax.jit(lambda params, prompts: self.model.prefix_of(params, prompts))
        before = seconds(first, self.params, self.prompts)
        whole = seconds(self.sampler, self.params, self.prompts, key)
        floor = self.cost["decode"].floor(found["rates"]["matmul_flops_per_s"], found["rates"]["copy_bytes_per_s"])
        s = self.shapes
        return {
            "prefill_s": before, "prefill_tokens_per_s": s.B * s.P / before,
            "prefill_images_per_s": s.B * s.I / before, "decode_s": whole - before, "floor_s": floor,
            "floor_over_decode": floor / (whole - before), "tokens_per_s": s.B * s.G * s.C / (whole - before),
        }  # fmt: skip

    def update(self, found: dict) -> dict:
        return self._update(found, self._own_params(), {}, self.cost["update"].flops)

    def update_lora(self, found: dict) -> dict:
        trainable, frozen, _ = with_adapter(self.params, self.model.compute_dtype)
        trained = parameter_count(trainable)
        least = update_flops(self.config, self.shapes, trained)
        return {"rank": RANK, "trained": trained, **self._update(found, trainable, frozen, least)}

    def full_step(self, found: dict) -> dict:
        return self._full_step(self._own_params(), {}, self.params)

    def full_step_lora(self, found: dict) -> dict:
        return {"rank": RANK, **self._full_step(*with_adapter(self.params, self.model.compute_dtype))}

    def _own_params(self) -> dict:
        """A copy: the step consumes what it trains."""
        return jax.tree.map(jnp.copy, self.params)

    def _batch(self, tokens, mask, ref) -> Batch:
        advantages = jax.random.normal(jax.random.key(2), mask.shape[:2])
        return Batch(self.prompts, tokens, mask, Targets(mask, jnp.ones(mask.shape[:2]), advantages, None, ref))

    def _update(self, found: dict, trainable: dict, frozen: dict, least: float) -> dict:
        batch = self._batch(self.tokens, self.mask, jnp.zeros(self.mask.shape, jnp.float32))
        state = init_state(trainable, self.optimizer)
        times = []
        for _ in range(4):
            begin = time.perf_counter()
            state, _ = jax.block_until_ready(self.step(state, frozen, batch))
            times.append(time.perf_counter() - begin)
        took = float(np.median(times[1:]))
        return {
            "update_s": took, "first_call_s": times[0], "least_flops": least,
            "mfu_of_measured_rate": least / took / found["rates"]["matmul_flops_per_s"],
        }  # fmt: skip

    def _full_step(self, trainable: dict, frozen: dict, reference: dict) -> dict:
        state = init_state(trainable, self.optimizer)
        times = []
        for t in range(4):
            begin = time.perf_counter()
            rollouts = self.sampler(combine(state["params"], frozen), self.prompts, jax.random.key(t))
            ref = self.reference(reference, self.prompts, rollouts.tokens, rollouts.mask)
            state, metrics = self.step(state, frozen, self._batch(rollouts.tokens, rollouts.mask, ref))
            assert np.isfinite(float(metrics["loss"]))
            times.append(time.perf_counter() - begin)
        s, took = self.shapes, float(np.median(times[1:]))
        return {"step_s": took, "first_call_s": times[0], "tokens_per_s": s.B * s.G * s.C / took}


def main(argv: list[str] | None = None) -> dict:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--tiny", action="store_true", help="a small model and small shapes, for a CPU")
    flags.add_argument("--minutes", type=minutes, default=7.0, help="after these, no further part is started")
    flags.add_argument("--attention", default="auto", choices=CHOICES, help="as config.model.attention")
    flags.add_argument("--json", help="file to write")
    args = flags.parse_args(argv)
    begin = time.perf_counter()
    try:
        save(args.json, {})
    except OSError as error:  # now, not after the first part
        flags.error(f"--json={args.json}: {error}")
    faulthandler.dump_traceback_later(60 * (args.minutes + GRACE), exit=True)
    try:
        return measure(args, begin)
    finally:
        faulthandler.cancel_dump_traceback_later()


def measure(args: argparse.Namespace, begin: float) -> dict:
    found: dict = {}
    bench, peak = Bench(args), 0
    for name in PARTS:
        if time.perf_counter() - begin > 60 * args.minutes:
            found[name] = {"error": f"not started: {args.minutes} minutes were over"}
        else:
            attempt(found, name, args.json, getattr(bench, name))
        if name == "setup" and "error" in found[name]:
            break
        # The device only knows the highest so far: it says something about a part only where that part raised it.
        before, peak = peak, peak_bytes()
        if peak > before:
            found[name]["peak_bytes"] = peak
        print(name, found[name], flush=True)
        save(args.json, found)
    return found


def attempt(found: dict, name: str, path: str | None, part: Callable[[dict], dict]) -> None:
    """Sets found[name] to what the part returns and the time it took, or to its error in one line, and saves it."""
    found[name] = {"error": "started, and never ended"}  # unless it does
    save(path, found)
    begin = time.perf_counter()
    try:
        found[name] = part(found)
    except Exception as error:  # a part that does not fit must not cost the others
        found[name] = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:2000]}
        save(path, found)
        traceback.print_exc()
    found[name]["part_s"] = time.perf_counter() - begin


def peak_bytes() -> int:
    """The most memory in use on the device so far; 0 where it does not say."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)


def failed(found: dict) -> bool:
    parts = [found[name] for name in PARTS if name in found]
    return any("error" in part or part.get("within") is False for part in parts)


if __name__ == "__main__":
    sys.exit(failed(main()))
