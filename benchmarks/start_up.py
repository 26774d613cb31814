"""Wall seconds from a command to its first step: a first start, which compiles, and later ones, which need not.

    python benchmarks/start_up.py --starts 3 --json out.json
    python benchmarks/start_up.py --config configs/cot_sft.py:structure
    python benchmarks/start_up.py --starts 7 --against ../before    # another checkout, its starts in turn with ours

A start begins with the interpreter, reads the base, makes the first pictures and evaluates the held-out sets; then its
first step begins. Each start has a workdir of its own, and all of a checkout share one folder of compiled programs,
empty at first.
"""

import argparse
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common.options import count
from common.report import machine, save, table

ROOT = Path(__file__).parents[1]
LAST, CPU = "first step done", "CPU-seconds"
LINES = {"step 0": "held-out sets evaluated", "step 1/": LAST}


def a_checkout(text: str) -> Path:
    """The type of --against."""
    if not (Path(text) / "launch/train.py").is_file():
        raise argparse.ArgumentTypeError(f"{text} is no checkout of this repository: it holds no launch/train.py")
    return Path(text).resolve()


def start(root: Path, config: str, workdir: Path, cache: Path) -> dict[str, float]:
    """Seconds from the command to those of LINES that it prints, and CPU-seconds up to the last, after which it is
    killed. SystemExit where it ends before."""
    command = [sys.executable, "-u", "launch/train.py", f"--config={config}", "--config.log.progress_every=1"]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    begun, cpu, seen, said = time.monotonic(), children_cpu(), {}, []
    with subprocess.Popen(
        [*command, f"--workdir={workdir}", f"--compilation_cache={cache}"], cwd=root, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    ) as run:  # fmt: skip
        for line in run.stdout:
            said.append(line)
            for mark, name in LINES.items():
                if line.lstrip("[").startswith(mark):
                    seen[name] = time.monotonic() - begun
            if LAST in seen:
                run.kill()
                break
    if LAST not in seen:
        raise SystemExit(f"{' '.join(command)} ended before its first step:\n{''.join(said[-10:])}")
    return {**seen, CPU: children_cpu() - cpu}


def children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(argv: list[str] | None = None) -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--config", default="configs/grpo_counting.py", help="what to start, as for launch/train.py")
    flags.add_argument("--starts", type=count, default=3, help="one that compiles, and those after it")
    flags.add_argument("--against", type=a_checkout, metavar="DIR", help="another checkout, started in turn")
    flags.add_argument("--json", help="file to write")
    args = flags.parse_args(argv)
    roots = {"starts": ROOT} | ({"against": args.against} if args.against else {})
    starts = {side: [] for side in roots}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for k in range(args.starts):
            for side, root in roots.items():
                starts[side].append(start(root, args.config, folder / f"{side}{k}", folder / f"programs of {side}"))
    names = [*LINES.values(), CPU]
    for side, found in starts.items():
        rows = [[f"start {k}", *(seconds.get(name, "") for name in names)] for k, seconds in enumerate(found, 1)]
        if later := [tuple(seconds.get(name, math.nan) for name in names) for seconds in found[1:]]:
            rows.append(["median after the first", *map(statistics.median, zip(*later, strict=True))])
        print(table([f"seconds, {roots[side].name}", *names], rows))
    save(args.json, {"config": args.config, **starts, "machine": machine()})


if __name__ == "__main__":
    main()
