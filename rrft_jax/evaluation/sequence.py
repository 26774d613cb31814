"""A sequence of trainings, with all tasks measured after each: continual post-training (arXiv 2507.05386).

A stage's training lives in WORKDIR/stage_1, stage_2, ... and resumes there. What is measured of its result is a file
in it, and a stage whose file is there is done, so that the sequence resumes wherever it was stopped.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from jax.sharding import Mesh

from rrft_jax.evaluation import sources
from rrft_jax.evaluation.benchmarks import Benchmark
from rrft_jax.evaluation.divergence import Divergence, make_divergence
from rrft_jax.evaluation.forgetting import as_table, average_accuracy, forgetting_measure
from rrft_jax.evaluation.questions import GREEDY, Answerer, Question
from rrft_jax.evaluation.runner import run_benchmark
from rrft_jax.evaluation.spent import Spent
from rrft_jax.files import write_atomic
from rrft_jax.models.protocol import Model
from rrft_jax.models.registry import read_config
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.pretrained import load_for_inference, load_parts, resolve_init
from rrft_jax.rewards import Pool, symbolic
from rrft_jax.rewards.symbolic import in_pool
from rrft_jax.rollout.answering import make_answerers
from rrft_jax.rollout.questions import to_questions
from rrft_jax.run.predictions import fingerprint, same_evaluation
from rrft_jax.run.versions import collect_versions
from rrft_jax.run.workdir import DONE
from rrft_jax.tasks.task import Task

MEASURED, MATRIX = "measured.json", "matrix"
BATCH = 64  # questions at a time


@dataclass(frozen=True)
class Measuring:
    """What is measured after each stage: of every task the greedy accuracy on the first column's generated questions,
    `questions` of them, and KL(policy || base) on the first `kl_questions` of these.

    prompt: how the questions are asked. longest: of an answer, in tokens; 0: 32 more than the task trains with.
    """

    tasks: tuple[Task, ...]
    questions: int
    prompt: str = "cot"
    kl_questions: int = 64
    longest: int = 0

    def __post_init__(self) -> None:
        if missing := [task.name for task in self.tasks if not task.benchmarks or task.make is None]:
            raise ValueError(f"{', '.join(missing)}: no benchmark with generated questions to measure it by")
        if len({task.name for task in self.tasks}) < len(self.tasks):
            raise ValueError(f"{', '.join(task.name for task in self.tasks)}: name each task once")


@dataclass(frozen=True)
class Meter:
    """What measures checkpoints of one model, with programs that all of them share. answerers, divergences: by task."""

    mesh: Mesh
    model: Model
    answerers: Mapping[str, Callable[[dict], Answerer]]
    divergences: Mapping[str, Callable[[dict, dict, Sequence[Question]], Divergence]]

    def load(self, directory: Path) -> dict:
        """Its parameters on the mesh."""
        return load_for_inference(directory, self.model.config, self.mesh, jnp.dtype(jnp.float32))


def make_meter(directory: Path, measuring: Measuring) -> Meter:
    """For checkpoints of the sizes and with the processor of `directory`."""
    mesh = make_mesh(kv_heads=read_config(directory).num_kv_heads)
    model, processor = load_parts(directory, "float32")
    batch, answerers, divergences = min(BATCH, measuring.questions), {}, {}
    for task in measuring.tasks:
        longest = measuring.longest or task.shapes.completion + 32
        greedy = replace(GREEDY, max_new_tokens=longest)
        answerers[task.name] = make_answerers(model, processor, mesh, greedy, batch)
        divergences[task.name] = make_divergence(model, processor, mesh, longest, batch)
    return Meter(mesh, model, answerers, divergences)


def run_sequence(
    stages: Sequence[str],
    init: str,
    train: Callable[[str, str, Path], int],
    workdir: Path,
    measuring: Measuring,
    base_folder: Path,
    meter: Callable[[], Meter],
    announce: Callable[[str], None] = print,
    about: Mapping[str, Any] = MappingProxyType({}),
) -> int:
    """Trains the stages one after the other, each from the result of the one before, and leaves matrix.json and
    matrix.md in `workdir`. Returns 0, or the exit code of a training that was stopped.

    stages: what `train` is given: train(stage, init, folder) runs or resumes one and returns its exit code. init: what
    the first starts from, to which KL is measured in all of them. base_folder: where what is measured of it is kept.
    meter: gives the Meter when something is to be measured. about: what else matrix.json is to say.
    """
    base = measured(init, init, base_folder, measuring, meter, announce)
    rows, spent = [], []
    start = init
    for number, stage in enumerate(stages, 1):
        folder = workdir / f"stage_{number}"
        announce(f"stage {number} of {len(stages)}, {stage}: training in {folder} from {start}")
        code = train(stage, start, folder)
        if not (folder / DONE).exists():
            return code or 1
        rows.append(measured(str(folder), init, folder / "measured", measuring, meter, announce))
        spent.append(json.loads((folder / DONE).read_text())["cpu_seconds"])
        start = str(folder)
    result = {
        **about, "stages": list(stages), "tasks": [task.alias or task.name for task in measuring.tasks],
        "questions": measuring.questions, "prompt": measuring.prompt, "base": base, "after": rows,
        "training_cpu_seconds": spent, "machine": collect_versions(),
    } | summary([row["tasks"] for row in rows], [task.name for task in measuring.tasks])  # fmt: skip
    write_atomic(workdir / f"{MATRIX}.json", (json.dumps(result, indent=1) + "\n").encode())
    text = as_text(result)
    write_atomic(workdir / f"{MATRIX}.md", (text + "\n").encode())
    announce(text)
    return 0


def summary(rows: Sequence[dict[str, Any]], tasks: Sequence[str]) -> dict[str, Any]:
    """The matrix A[i][k] in percent, its average accuracy, and its forgetting measure where each task had a stage of
    its own (else None). rows: by task what was measured after each stage."""
    matrix = [[100 * row[name]["accuracy"] for name in tasks] for row in rows]
    square = len(matrix) == len(tasks)
    return {
        "matrix": matrix, "average_accuracy": average_accuracy(matrix) if square else sum(matrix[-1]) / len(tasks),
        "forgetting_measure": forgetting_measure(matrix) if square else None,
    }  # fmt: skip


def as_text(result: dict[str, Any]) -> str:
    """The matrix as Markdown, with a row for the base, and KL to it."""
    names = list(result["base"]["tasks"])
    first = [100 * result["base"]["tasks"][name]["accuracy"] for name in names]
    kl = [row["tasks"] for row in result["after"]]
    of_each = "; ".join(
        f"{stage} " + " / ".join(f"{row[name]['kl']:.2f}" for name in names)
        for stage, row in zip(result["stages"], kl, strict=True)
    )
    return f"{as_table(result['matrix'], names, result['stages'], first)}\n\nKL to the base, nats an answer: {of_each}"


def measured(
    checkpoint: str, base: str, folder: Path, measuring: Measuring, meter: Callable[[], Meter],
    announce: Callable[[str], None] = print,
) -> dict[str, Any]:
    """By task accuracy, its 95 % interval, format, mean length and KL of a checkpoint, and the CPU-seconds it took.
    What `folder` holds is not measured again. meter: gives it when it is needed. ValueError where the folder's numbers
    are of something else."""
    directory, source = resolve_init(checkpoint), resolve_init(base)
    about = {
        "weights": fingerprint(directory), "base": fingerprint(source), "prompt": measuring.prompt,
        "questions": measuring.questions, "kl_questions": measuring.kl_questions, "longest": measuring.longest,
        "tasks": [task.name for task in measuring.tasks],
    }  # fmt: skip
    same_evaluation(folder, about)
    file = folder / MEASURED
    if file.exists():
        return json.loads(file.read_text())
    announce(f"measuring {checkpoint} on {', '.join(task.name for task in measuring.tasks)}")
    spent = Spent(folder / "spent.json")
    tools = meter()
    params = tools.load(directory)
    same = about["weights"] == about["base"]
    reference = params if same else tools.load(source)
    found = {}

    def noted(done: int) -> None:
        spent.note()

    with Pool(initializer=symbolic.load) as pool:
        for task in measuring.tasks:
            column = task.benchmarks[0]
            asked = sources.questions(Benchmark(task, column), "", measuring.questions, measuring.prompt)
            numbers = run_benchmark(
                column.name, task, asked.examples, asked.ask, tools.answerers[task.name](params), folder,
                in_pool(pool), about=asked.about, on_reply=noted,
            )  # fmt: skip
            kl = Divergence(0.0, 0.0, 0.0)
            if not same:
                questions = to_questions(asked.examples[: measuring.kl_questions], asked.ask)
                kl = tools.divergences[task.name](params, reference, questions)
            found[task.name] = {
                "accuracy": numbers["exact"]["mean"], "low": numbers["exact"]["low"], "high": numbers["exact"]["high"],
                "format": numbers["format_strict"], "length": numbers["length"]["mean"],
                "kl": kl.mean, "kl_stderr": kl.stderr, "kl_per_token": kl.per_token,
            }  # fmt: skip
    result = {"tasks": found, "cpu_seconds": round(spent.note(), 1)}
    write_atomic(file, (json.dumps(result, indent=1) + "\n").encode())
    return result
