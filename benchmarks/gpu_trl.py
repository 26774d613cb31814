"""TRL's GRPOTrainer at the shapes of gpu.py's full_step: Qwen2-VL-2B with random weights on one GPU.

    python benchmarks/gpu_trl.py --json docs/benchmarks/gpu_trl.json --compare docs/benchmarks/gpu.json
    python benchmarks/gpu_trl.py --tiny                           # dry run on a CPU

Needs the extra `bench` with a CUDA build of torch. Weights in --dtype are trained as they are, AdamW's moments with
them, in passes of --rows completions with activations computed again, as TRL does by default; gpu.py trains float32
parameters. Every completion is as long as ours, none ends early. A step is rollout, reference pass and update, as in
gpu.py; what the host does (pictures and texts to arrays, rewards) is in the phases and not in the step. The
first step is not counted. It is saved step by step, no step is started after --minutes, and whatever hangs ends 1.8
minutes later. Exit code 1: something failed, and the JSON says what; out of memory, give less --rows.
"""

import argparse
import faulthandler
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import traceback
from pathlib import Path

from common.cost import PAPER, TINY, Shapes
from common.options import Options, a_peer, count, minutes
from common.report import chosen, machine, save
from common.turns import now

BETA = 0.04  # of the KL penalty, as in gpu.py: both make the reference pass
GRACE = 1.8  # minutes that the last step may take beyond --minutes
# Shapes, and height and width in pixels of a picture that has so many patches; size of the model.
PROBLEM, DRY = (PAPER, (504, 952), "2B"), (TINY, (56, 56), "tiny")


def options_of(shapes: Shapes, picture: tuple[int, int], checkpoint: str) -> Options:
    """picture: height and width in pixels, shapes.n patches."""
    text = shapes.P - shapes.I * shapes.n // 4
    return Options(checkpoint, shapes.B, shapes.G, shapes.C, picture[0], shapes.I, text, BETA, width=picture[1])


def write_checkpoint(folder: str, size: str, dtype: str) -> None:
    """In a process of its own, whose memory is free again before torch reads the weights."""
    from common.checkpoint import make_checkpoint, model_config

    make_checkpoint(folder, model_config(size), dtype)


def reward(text: str) -> float:
    return text.count("e") / (1 + len(text))


class Steps:
    """What the trainer calls: whether to take another step, and seconds by phase, saved as they come."""

    def __init__(self, args: argparse.Namespace, found: dict, deadline: float):
        self.args, self.found, self.deadline = args, found, deadline

    def begin(self) -> bool:
        return len(self.found["steps"]) <= self.args.steps and time.perf_counter() < self.deadline

    def end(self, phases: dict) -> None:
        wall = {name: seconds for name, (_, seconds) in phases.items()}
        self.found["steps"].append({**wall, "step": sum(wall.values()) - wall["host"]})
        summarise(self.found)
        print(f"step {len(self.found['steps']) - 1}:", self.found["steps"][-1], flush=True)
        save(self.args.json, self.found)


def measure(args: argparse.Namespace, compared: dict | None, found: dict, deadline: float) -> None:
    import torch

    gpu = torch.cuda.is_available()
    shapes, picture, size = DRY if args.tiny else PROBLEM
    found["shapes"] = vars(shapes)
    found["device"] = torch.cuda.get_device_name() if gpu else "cpu"
    if not (gpu or args.tiny):
        raise RuntimeError("torch sees no GPU: install a CUDA build of it, or give --tiny for a dry run on the CPU")
    if compared is not None:
        compare(compared, found)
    with tempfile.TemporaryDirectory() as scratch:
        folder = str(Path(scratch) / "model")
        writer = multiprocessing.get_context("spawn").Process(
            target=write_checkpoint, args=(folder, size, args.dtype), daemon=True
        )
        writer.start()
        writer.join()
        if writer.exitcode:
            raise RuntimeError(f"the process that writes the weights ended with {writer.exitcode}")

        from common.torch_side import load_problem
        from common.trl_trainer import make_trainer

        def after_the_device() -> tuple[float, float]:
            if gpu:
                torch.cuda.synchronize()
            return now()

        options, steps = options_of(shapes, picture, folder), Steps(args, found, deadline)
        rows = options.prompts * options.group
        trainer = make_trainer(
            options, *load_problem(options), reward, scratch, steps.begin, steps.end, after_the_device,
            per_device_train_batch_size=args.rows, gradient_accumulation_steps=rows // args.rows,
            use_cpu=not gpu, bf16=gpu, gradient_checkpointing=True, model_init_kwargs={"dtype": args.dtype},
        )  # fmt: skip
        trainer.run()
    if gpu:
        found["peak_bytes"] = torch.cuda.max_memory_allocated()
    if "step_s" not in found:
        raise RuntimeError(f"{args.minutes} minutes were over before a second step: nothing is counted")


def summarise(found: dict) -> None:
    """Medians of the steps after the first, in seconds, and TRL / ours where ours is known."""
    counted = found["steps"][1:]
    if counted:
        found["phases"] = {name: statistics.median(step[name] for step in counted) for name in counted[0]}
        found["step_s"] = found["phases"].pop("step")
        shapes = found["shapes"]
        found["tokens_per_s"] = shapes["B"] * shapes["G"] * shapes["C"] / found["step_s"]
        if "ours" in found:
            found["ratio"] = found["step_s"] / found["ours"]["step_s"]


def compare(ours: dict, found: dict) -> None:
    """Puts our step into `found`. ValueError where it was not measured on this device at these shapes."""
    for name in ("device", "shapes"):
        if ours.get(name) != found[name]:
            raise ValueError(f"--compare: its {name} is {ours.get(name)}, here it is {found[name]}")
    if "step_s" not in (ours.get("full_step") or {}):
        raise ValueError("--compare: it holds no full_step")
    found["ours"] = ours["full_step"]


def read_compared(path: str, written: str | None) -> dict:
    """What gpu.py wrote. ValueError where it is something else, or would be written over; OSError."""
    if written and Path(written).resolve() == Path(path).resolve():
        raise ValueError(f"--json and --compare are the same file, {path}: it would be written over")
    try:
        found = json.loads(Path(path).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"--compare={path} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"--compare={path} is not what gpu.py writes")
    return found


def main(argv: list[str] | None = None) -> dict:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--tiny", action="store_true", help="a small model and small shapes, for a CPU")
    flags.add_argument("--rows", type=count, default=4, help="completions in one pass of the update and the reference")
    flags.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="of weights and moments")
    flags.add_argument("--steps", type=count, default=3, help="counted, after a first one")
    flags.add_argument("--minutes", type=minutes, default=7.0, help="after these, no further step is started")
    flags.add_argument("--compare", metavar="JSON", help="what gpu.py wrote on this device, to compare with")
    flags.add_argument("--json", help="file to write")
    args = flags.parse_args(argv)
    shapes = (DRY if args.tiny else PROBLEM)[0]
    if shapes.B * shapes.G % args.rows:
        flags.error(f"--rows={args.rows} must divide the {shapes.B * shapes.G} completions of a step")
    found = {"options": chosen(args), "machine": machine(), "steps": [], "error": "started, and never ended"}
    try:
        a_peer("trl")("trl")
        compared = read_compared(args.compare, args.json) if args.compare else None
        save(args.json, found)  # now, not after the first step
    except (argparse.ArgumentTypeError, OSError, ValueError) as error:
        flags.error(str(error))
    os.environ["JAX_PLATFORMS"] = "cpu"  # what writes the weights is to leave the GPU's memory alone
    faulthandler.dump_traceback_later(60 * (args.minutes + GRACE), exit=True)
    try:
        measure(args, compared, found, time.perf_counter() + 60 * args.minutes)
        del found["error"]
    except Exception as error:  # the steps before it are worth keeping
        found["error"] = " ".join(f"{type(error).__name__}: {error}".split())[:2000]
        traceback.print_exc()
    finally:
        faulthandler.cancel_dump_traceback_later()
    save(args.json, found)
    if "step_s" in found:
        print(f"TRL: {found['step_s']:.2f} s a step, {found['phases']}")
    if "ratio" in found:
        print(f"TRL / ours in seconds: {found['ratio']:.2f}")
    return found


if __name__ == "__main__":
    sys.exit("error" in main())
