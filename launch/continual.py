"""Trains on tasks one after the other and measures all of them after each: accuracy matrix, average, forgetting.

    python launch/continual.py --recipe=configs/continual.py --tasks=counting,structure,spatial --workdir=workdirs/seq
    python launch/continual.py --recipe=configs/cot_sft.py --workdir=workdirs/seq_sft -- --config.train.steps=60

Each stage is launch/train.py --config=RECIPE:TASK from the result of the stage before, in WORKDIR/stage_1, stage_2,
..., then launch/evaluate.py, greedy, on the first column of every task (its generated questions). What stands behind
`--` goes to every training. WORKDIR/matrix.json and matrix.md hold A[i][k], the accuracy on task k after stage i. The
same command resumes: finished stages and answered questions are not done again.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

_RECIPE = flags.DEFINE_string("recipe", "configs/continual.py", "A config file that takes a task as its argument.")
_TASKS = flags.DEFINE_list("tasks", ["counting", "structure", "spatial"], "Short names of the tasks, in their order.")
_INIT = flags.DEFINE_string("init", "nano", "What the first stage starts from.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the stages live.", required=True)
_LIMIT = flags.DEFINE_integer("limit", 200, "Questions of each task.", 1)
_NEW = flags.DEFINE_integer("max_new_tokens", 128, "Longest answer in tokens, when measured.", 1)
_FOLDER = Path(__file__).parent


def main(argv: list[str]) -> int:
    from rrft_jax.evaluation.forgetting import as_table, average_accuracy, forgetting_measure
    from rrft_jax.files import write_atomic
    from rrft_jax.tasks.registry import get_task

    try:
        tasks = [get_task(name, "--tasks") for name in _TASKS.value]
        if missing := [task.name for task in tasks if not task.benchmarks]:
            raise ValueError(f"--tasks: {', '.join(missing)} has no benchmark to measure it by")
        if len({task.name for task in tasks}) < len(tasks):
            raise ValueError(f"--tasks={','.join(_TASKS.value)}: name each task once")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    workdir, matrix, init = Path(_WORKDIR.value).expanduser(), [], _INIT.value
    for i, alias in enumerate(_TASKS.value, 1):
        stage = workdir / f"stage_{i}"
        config = [f"--config={_RECIPE.value}:{alias}", f"--config.init={init}"]
        code = _launch("train.py", *config, *argv[1:], f"--workdir={stage}")
        if code or not (stage / "DONE").exists():
            return code
        row = []
        for other in tasks:
            name = other.benchmarks[0].name
            code = _launch(
                "evaluate.py", f"--checkpoint={stage}", f"--benchmark={name}", f"--limit={_LIMIT.value}",
                "--decoding=greedy", f"--max_new_tokens={_NEW.value}", f"--output={stage / 'tasks' / name}",
            )  # fmt: skip
            if code:
                return code
            numbers = json.loads((stage / "tasks" / name / f"{name}.json").read_text())
            row.append(100 * numbers["exact"]["mean"])
        matrix.append(row)
        init = str(stage)
    found = {
        "tasks": [task.name for task in tasks], "matrix": matrix, "average_accuracy": average_accuracy(matrix),
        "forgetting_measure": forgetting_measure(matrix), "questions": _LIMIT.value,
    }  # fmt: skip
    write_atomic(workdir / "matrix.json", (json.dumps(found, indent=1) + "\n").encode())
    text = as_table(matrix, [task.name for task in tasks])
    write_atomic(workdir / "matrix.md", (text + "\n").encode())
    print(text)
    return 0


def _launch(program: str, *arguments: str) -> int:
    command: Sequence[str] = (sys.executable, str(_FOLDER / program), *arguments)
    print(" ".join(command[1:]), flush=True)
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    app.run(main)
