"""The paper's table in miniature, on a CPU: five methods on three tasks with the bundled nano model.

    python launch/reproduce.py                              # everything that is not in docs/results yet, seed 0
    python launch/reproduce.py --seeds=0,1,2
    python launch/reproduce.py --tasks=counting --methods=zero_shot,reason_rft_zero --results=workdirs/table
    python launch/reproduce.py --report_only                # draws table and figures of the results that exist
    python launch/reproduce.py --quick --questions=8        # trainings of four steps, in folders of their own

After Ctrl-C or a kill, the same command resumes in the middle of the training where it was. A nano result is about the
pipeline: it says nothing about Qwen2-VL-2B or 7B.
"""

import os
import sys
from pathlib import Path

from absl import app, flags, logging

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

_TASKS = flags.DEFINE_list("tasks", [], "Which tasks, such as counting,structure; default: all of the table.")
_METHODS = flags.DEFINE_list(
    "methods", ["zero_shot", "ans_sft", "cot_sft", "reason_rft_zero", "reason_rft"], "Which rows of the table."
)
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds of the trainings and of the answers.")
_QUESTIONS = flags.DEFINE_integer("questions", 512, "Questions of each benchmark column.", 1)
_WORKDIRS = flags.DEFINE_string(
    "workdirs", None, "Where trainings and predictions live (workdirs/reproduce, with --quick workdirs/quick)."
)
_RESULTS = flags.DEFINE_string(
    "results", None, "Where results and report go (docs/results, with --quick workdirs/quick/results)."
)
_QUICK = flags.DEFINE_bool("quick", False, "Trainings of four steps, to see that everything runs.")
_REPORT = flags.DEFINE_bool("report_only", False, "Draw the report alone; train and evaluate nothing.")
_CACHE = flags.DEFINE_string("compilation_cache", "~/.cache/rrft_jax/xla", "Keeps compiled programs; empty disables.")
DEFAULTS = "workdirs/reproduce", "docs/results"


def train(cell, workdir: Path) -> int:
    """One training in this process, with its config's defaults and the cell's seed."""
    from rrft_jax.config.command_line import load_config
    from rrft_jax.evaluation.reproduction import GAP_STEPS, METHODS
    from rrft_jax.run.clock import cpu_seconds
    from rrft_jax.training.stages import run

    file = f"configs/{METHODS[cell.method].recipe}.py:{cell.task}{',runlocal' if _QUICK.value else ''}"
    config = load_config(str(Path(__file__).parents[1] / file))
    changed = {"seed": cell.seed}
    if cell.method == "reason_rft_zero":  # the fall of the adaptation gap lasts about 15 steps
        changed["eval.every"] = min(config.eval.every, GAP_STEPS)
    config.update_from_flattened_dict(changed)
    # A stopped training prints how to resume it: the command of this training alone, which has its workdir.
    options = [f"--config.{name}={value}" for name, value in changed.items()]
    argv = ["launch/train.py", f"--config={file}", *options]
    return run(config, workdir, argv, began=cpu_seconds())


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: every option is a --flag=value")
    logging.set_verbosity(logging.WARNING)
    from rrft_jax.compilation import keep_programs
    from rrft_jax.evaluation.figures import check_installed
    from rrft_jax.evaluation.reproduction import cells, read_results, run_cell, table_tasks
    from rrft_jax.evaluation.reproduction_report import write_reproduction

    keep_programs(_CACHE.value)
    # A result of four steps must not be taken for one of the table.
    workdirs, results = ("workdirs/quick", "workdirs/quick/results") if _QUICK.value else DEFAULTS
    workdirs, results = Path(_WORKDIRS.value or workdirs), Path(_RESULTS.value or results)
    try:
        check_installed()
        if wrong := [seed for seed in _SEEDS.value if not seed.strip().isdecimal()]:
            raise ValueError(
                f"--seeds: {', '.join(map(repr, wrong))}: whole numbers from 0 are wanted, as in --seeds=0,1"
            )
        chosen = cells(_TASKS.value or list(table_tasks()), _METHODS.value, [int(seed) for seed in _SEEDS.value])
        for number, cell in enumerate([] if _REPORT.value else chosen, 1):
            announce = lambda text, number=number: print(f"[{number} of {len(chosen)}] {text}", flush=True)  # noqa: E731
            code = run_cell(cell, train, workdirs, results, _QUESTIONS.value, announce)
            if code:
                print("stopped; the same command of launch/reproduce.py resumes from here", file=sys.stderr)
                return code
        found = read_results(results)
        if not found:
            raise ValueError(f"--results={results} holds no result yet: run without --report_only")
        print(write_reproduction(found, results))
    except (ValueError, OSError, RuntimeError) as error:  # the last: a training that diverged
        print("\n".join([f"error: {error}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command resumes from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    app.run(main)
