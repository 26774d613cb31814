"""Wall seconds from a command to its first step: a first start, which compiles, and later ones, which need not.

    python benchmarks/start_up.py --starts 3 --json out.json
    python benchmarks/start_up.py --config configs/cot_sft_structure.py

A start begins with the interpreter, reads the base, makes the first pictures and evaluates the held-out sets; then its
first step begins. Each start has a workdir of its own, and all share one folder of compiled programs, empty at first.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common.options import count
from common.report import machine, save, table

ROOT = Path(__file__).parents[1]
LAST = "first step done"
LINES = {"step 0": "held-out sets evaluated", "step 1/": LAST}


def start(config: str, workdir: Path, cache: Path) -> dict[str, float]:
    """Seconds from the command to those of LINES that it prints; it is killed after the last. SystemExit where it ends
    before."""
    command = [sys.executable, "-u", "launch/train.py", f"--config={config}", "--config.log.progress_every=1"]
    begun, seen, said = time.monotonic(), {}, []
    with subprocess.Popen(
        [*command, f"--workdir={workdir}", f"--compilation_cache={cache}"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as run:  # fmt: skip
        for line in run.stdout:
            said.append(line)
            for mark, name in LINES.items():
                if line.lstrip("[").startswith(mark):
                    seen[name] = time.monotonic() - begun
            if LAST in seen:
                run.kill()
                return seen
    raise SystemExit(f"{' '.join(command)} ended before its first step:\n{''.join(said[-10:])}")


def main(argv: list[str] | None = None) -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--config", default="configs/grpo_counting.py", help="what to start, as for launch/train.py")
    flags.add_argument("--starts", type=count, default=3, help="one that compiles, and those after it")
    flags.add_argument("--json", help="file to write")
    args = flags.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        starts = [start(args.config, folder / f"run{k}", folder / "programs") for k in range(args.starts)]
    names = list(LINES.values())
    rows = [[f"start {k}", *(seconds.get(name, "") for name in names)] for k, seconds in enumerate(starts, 1)]
    print(table(["seconds", *names], rows))
    save(args.json, {"config": args.config, "starts": starts, "machine": machine()})


if __name__ == "__main__":
    main()
