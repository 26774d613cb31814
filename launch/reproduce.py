"""The paper's table in miniature, on a CPU: five methods on three tasks with the bundled nano model.

    python launch/reproduce.py                              # everything that is not in docs/results yet, seed 0
    python launch/reproduce.py --seeds=0,1,2
    python launch/reproduce.py --tasks=counting --methods=zero_shot,reason_rft_zero --results=results
    python launch/reproduce.py --report_only                # draws what is there

Stopped by Ctrl-C or a kill, the same command goes on in the middle of the training where it was. A nano result is about
the pipeline: it says nothing about Qwen2-VL-2B or 7B.
"""

import os
import sys
from pathlib import Path

from absl import app, flags, logging

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

_TASKS = flags.DEFINE_list("tasks", ["counting", "structure", "spatial"], "Which tasks.")
_METHODS = flags.DEFINE_list(
    "methods", ["zero_shot", "ans_sft", "cot_sft", "reason_rft_zero", "reason_rft"], "Which rows of the table."
)
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds of the trainings and of the answers.")
_QUESTIONS = flags.DEFINE_integer("questions", 512, "Questions of each benchmark column.", 1)
_WORKDIRS = flags.DEFINE_string("workdirs", "workdirs/reproduce", "Where trainings and predictions live.")
_RESULTS = flags.DEFINE_string("results", "docs/results", "Where the result of each cell and the report go.")
_QUICK = flags.DEFINE_bool("quick", False, "Trainings of four steps, to see that everything runs.")
_REPORT = flags.DEFINE_bool("report_only", False, "Train and evaluate nothing.")
_CACHE = flags.DEFINE_string("compilation_cache", "~/.cache/rrft_jax/xla", "Compiled programs are kept here; '': not.")


def train(cell, workdir: Path) -> int:
    """One training in this process, with its config's defaults and the cell's seed."""
    from rrft_jax.evaluation.reproduction import METHODS
    from rrft_jax.training.overrides import load_config
    from rrft_jax.training.stages import run

    name = f"{METHODS[cell.method].recipe}_{cell.task}.py"
    config = load_config(f"{Path(__file__).parents[1] / 'configs' / name}:{'runlocal' if _QUICK.value else ''}")
    config.seed = cell.seed
    if config.stage1:
        config.stage1.seed = cell.seed
    return run(config, workdir, sys.argv)


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: every option is a --flag=value")
    logging.set_verbosity(logging.WARNING)
    from rrft_jax.compilation import keep_programs
    from rrft_jax.evaluation.reproduction import cells, read_results, run_cell
    from rrft_jax.evaluation.reproduction_report import write_report

    keep_programs(_CACHE.value)
    results = Path(_RESULTS.value)
    try:
        chosen = cells(_TASKS.value, _METHODS.value, [int(seed) for seed in _SEEDS.value])
        for number, cell in enumerate([] if _REPORT.value else chosen, 1):
            say = lambda text, number=number: print(f"[{number} of {len(chosen)}] {text}", flush=True)  # noqa: E731
            code = run_cell(cell, train, Path(_WORKDIRS.value), results, _QUESTIONS.value, say)
            if code:
                return code
        found = read_results(results)
        if not found:
            raise ValueError(f"--results={results} holds no result yet: run without --report_only")
        print(write_report(found, results))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    app.run(main)
