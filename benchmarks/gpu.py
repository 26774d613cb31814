"""Qwen2-VL-2B with random weights on one accelerator: how near update and decoding come to what the device can do.

    python benchmarks/gpu.py --json docs/benchmarks/gpu.json      # one GPU or TPU chip; under 9 minutes, unattended
    python benchmarks/gpu.py --tiny                               # dry run of every part on a CPU

Parts, each saved as soon as it is there: the device's matmul and copy rates; the update's model FLOPs utilisation (the
least FLOPs of common/cost.py / measured time / measured matmul rate, rematerialisation not counted as work); decoding
as achieved / floor of its memory traffic; a full GRPO step at the paper's shapes. A part that fails, out of memory for
instance, is recorded with its error and the next one runs. After --minutes no further part is started, and a part that
is still running 1.8 minutes later (a compiler that does not come back) ends the process.
"""

import argparse
import faulthandler
import os
import time
import traceback
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from common.checkpoint import model_config
from common.cost import Shapes, phases
from common.problem import random_prompts
from common.rates import copy_rate, matmul_rate, seconds
from common.report import machine, save

from rrft_jax.losses import Targets, grpo_loss
from rrft_jax.losses.trl import trl
from rrft_jax.models.qwen2_vl.attention import CHOICES, choose
from rrft_jax.models.qwen2_vl.model import Qwen2VL, init_params, prefill
from rrft_jax.models.score import score
from rrft_jax.rollout.sampler import sample
from rrft_jax.training.defaults import base_config
from rrft_jax.training.forward import Batch, make_forward
from rrft_jax.training.optimizer import make_optimizer
from rrft_jax.training.step import init_state, make_train_step

# The paper: 8 completions a prompt; a 480,000-pixel picture is at most 2,448 patches, 612 visual tokens.
PAPER = Shapes(B=2, G=8, P=1024, C=512, I=1, n=2448)
TINY = Shapes(B=2, G=2, P=32, C=8, I=1, n=16)


class Bench:
    """What the parts share; made on the device by one program, so that nothing large crosses the bus."""

    def __init__(self, args):
        self.tiny = args.tiny
        self.shapes = TINY if args.tiny else PAPER
        config = model_config("tiny" if args.tiny else "2B")
        dtype = "float32" if args.tiny else "bfloat16"
        self.model = Qwen2VL(config, dtype, "full", choose(args.attention, jax.default_backend(), dtype))
        self.config = config
        self.params = jax.jit(partial(init_params, self.model))(jax.random.key(0))
        s = self.shapes
        self.prompts = jax.tree.map(jnp.asarray, random_prompts(config, s))
        self.tokens = jax.random.randint(jax.random.key(1), (s.B, s.G, s.C), 0, min(config.vocab_size, 1000) - 64)
        self.mask = jnp.ones((s.B, s.G, s.C), bool)
        bytes_each = 4 if args.tiny else 2
        self.cost = phases(config, s, bytes_each, bytes_each)
        self.law = np.arange(config.vocab_size) < config.vocab_size - 64
        optimizer, schedule = make_optimizer(base_config().optimizer, 1000)
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
                sample, self.model, allowed=self.law, eos_token_ids=(config.eos_token_id,),
                pad_token_id=config.pad_token_id, group=s.G, length=s.C, stop_at_eos=False,
            )
        )  # fmt: skip
        self.reference = jax.jit(lambda *batch: score(self.model, *batch, None)[0])

    def rates(self, found: dict) -> dict:
        dtype = self.model.compute_dtype
        size = 512 if self.tiny else 8192
        return {
            "matmul_flops_per_s": matmul_rate(size, dtype), "matmul": f"{size}^3 {dtype}",
            "copy_bytes_per_s": copy_rate(2**22 if self.tiny else 2**30),
        }  # fmt: skip

    def decode(self, found: dict) -> dict:
        key = jax.random.key(0)
        first = jax.jit(lambda params, prompts: prefill(self.model, params, prompts)[1])
        before = seconds(first, self.params, self.prompts)
        whole = seconds(self.sampler, self.params, self.prompts, key)
        floor = self.cost["decode"].floor(found["rates"]["matmul_flops_per_s"], found["rates"]["copy_bytes_per_s"])
        s = self.shapes
        return {
            "prefill_s": before, "decode_s": whole - before, "floor_s": floor,
            "floor_over_decode": floor / (whole - before), "tokens_per_s": s.B * s.G * s.C / (whole - before),
        }  # fmt: skip

    def _batch(self, tokens, mask, ref) -> Batch:
        advantages = jax.random.normal(jax.random.key(2), mask.shape[:2])
        return Batch(self.prompts, tokens, mask, Targets(mask, jnp.ones(mask.shape[:2]), advantages, None, ref))

    def update(self, found: dict) -> dict:
        batch = self._batch(self.tokens, self.mask, jnp.zeros(self.mask.shape, jnp.float32))
        state = init_state(jax.tree.map(jnp.copy, self.params), self.optimizer)
        times = []
        for _ in range(4):
            begin = time.perf_counter()
            state, _ = jax.block_until_ready(self.step(state, {}, batch))
            times.append(time.perf_counter() - begin)
        took = float(np.median(times[1:]))
        rate = self.cost["update"].flops / took
        return {
            "update_s": took, "first_call_s": times[0], "least_flops": self.cost["update"].flops,
            "mfu_of_measured_rate": rate / found["rates"]["matmul_flops_per_s"],
        }  # fmt: skip

    def full_step(self, found: dict) -> dict:
        state = init_state(jax.tree.map(jnp.copy, self.params), self.optimizer)
        times = []
        for t in range(3):
            begin = time.perf_counter()
            rollouts = self.sampler(state["params"], self.prompts, jax.random.key(t))
            ref = self.reference(self.params, self.prompts, rollouts.tokens, rollouts.mask)
            state, metrics = self.step(state, {}, self._batch(rollouts.tokens, rollouts.mask, ref))
            assert np.isfinite(float(metrics["loss"]))
            times.append(time.perf_counter() - begin)
        s = self.shapes
        return {"step_s": min(times[1:]), "tokens_per_s": s.B * s.G * s.C / min(times[1:])}


def main(argv: list[str] | None = None) -> dict:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--tiny", action="store_true", help="a small model and small shapes, for a CPU")
    flags.add_argument("--minutes", type=float, default=7.0, help="after these, no further part is started")
    flags.add_argument("--attention", default="auto", choices=CHOICES, help="as config.model.attention")
    flags.add_argument("--json", help="file to write")
    args = flags.parse_args(argv)
    begin = time.perf_counter()
    faulthandler.dump_traceback_later(60 * (args.minutes + 1.8), exit=True)
    try:
        return measure(flags, args, begin)
    finally:
        faulthandler.cancel_dump_traceback_later()


def measure(flags: argparse.ArgumentParser, args: argparse.Namespace, begin: float) -> dict:
    if "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ:
        # The default leaves a quarter of the memory unused: too little is left on 80 GB for float32 parameters, their
        # copy, two moments and two gradients (50 GiB) and an update's activations.
        os.environ.setdefault("XLA_CLIENT_MEM_FRACTION", "0.92")
    device = jax.devices()[0]
    found: dict = {"device": device.device_kind, "machine": machine()}
    try:
        bench = Bench(args)
    except ValueError as error:
        flags.error(str(error))
    found |= {"shapes": vars(bench.shapes), "attention": bench.model.attention}
    for name in ("rates", "decode", "update", "full_step"):
        if time.perf_counter() - begin > 60 * args.minutes:
            found[name] = {"error": f"not started: {args.minutes} minutes were over"}
        else:
            found[name] = {"error": "started, and never ended"}  # unless it does
            save(args.json, found)
            try:
                found[name] = getattr(bench, name)(found)
            except Exception as error:  # a part that does not fit must not cost the others
                found[name] = {"error": f"{type(error).__name__}: {error}"[:2000]}
                traceback.print_exc()
        stats = device.memory_stats() or {}
        if "peak_bytes_in_use" in stats:
            found[name]["peak_bytes"] = stats["peak_bytes_in_use"]
        print(name, found[name], flush=True)
        save(args.json, found)
    return found


if __name__ == "__main__":
    main()
