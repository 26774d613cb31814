"""The paper's table in miniature: five training methods on three tasks, a small JSON for each cell and seed.

A cell is (task, method, seed). Its training lives in a workdir of its own and resumes there; its result is a file, and
a cell whose file is there is done, so that the table resumes wherever it was stopped.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp

from rrft_jax.evaluation import sources
from rrft_jax.evaluation.benchmarks import Benchmark
from rrft_jax.evaluation.questions import PAPER, Decoding
from rrft_jax.evaluation.runner import run_benchmark
from rrft_jax.evaluation.spent import Spent
from rrft_jax.models.registry import read_config
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.pretrained import load_for_inference, load_parts, resolve_init
from rrft_jax.rewards import Pool, symbolic
from rrft_jax.rewards.symbolic import in_pool
from rrft_jax.rollout.answering import make_answerer
from rrft_jax.run.metrics import read_metrics
from rrft_jax.run.predictions import fingerprint, same_evaluation
from rrft_jax.run.versions import collect_versions
from rrft_jax.run.workdir import DONE, STAGE1
from rrft_jax.tasks.registry import tasks
from rrft_jax.tasks.task import Task

BASE = "nano"  # what every row starts from
SPENT = "spent.json"  # next to the predictions
GAP_STEPS = 10  # at most, between two evaluations of Reason-RFT-Zero, for its transient adaptation gap


@dataclass(frozen=True)
class Method:
    """title: its row in the paper. recipe: the beginning of its config's name, "" for the base model as it is. prompt:
    how its result is asked."""

    title: str
    recipe: str
    prompt: str


METHODS = MappingProxyType({
    "zero_shot": Method("zero-shot", "", "zero_shot"),
    "ans_sft": Method("ANS-SFT", "ans_sft", "ans"),
    "cot_sft": Method("CoT-SFT", "cot_sft", "cot"),
    "reason_rft_zero": Method("Reason-RFT-Zero", "reason_rft_zero", "cot"),
    "reason_rft": Method("Reason-RFT", "reason_rft", "cot"),
})  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One place of the table. Without training the seed is that of the answers alone."""

    task: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.task}/{self.method}-seed{self.seed}"


def table_tasks() -> dict[str, Task]:
    """The tasks of the paper's table by their short names: those that generate twins of published files."""
    return {task.alias: task for task in tasks().values() if task.make and any(c.file for c in task.benchmarks)}


def cells(chosen: Sequence[str], methods: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    """In the order they are worked on: a whole table for the first seed first. ValueError for an unknown name."""
    for given, known in ((chosen, table_tasks()), (methods, METHODS)):
        if wrong := set(given) - set(known):
            raise ValueError(f"{', '.join(sorted(wrong))}: not one of {', '.join(known)}")
    return [Cell(task, method, seed) for seed in seeds for task in chosen for method in methods]


def run_cell(
    cell: Cell,
    train: Callable[[Cell, Path], int],
    workdirs: Path,
    results: Path,
    questions: int,
    announce: Callable[[str], None],
) -> int:
    """Trains and evaluates a cell and writes its result; 0, or the exit code of a training that was stopped.

    train(cell, workdir) runs or resumes the training and returns its exit code. questions: of each benchmark.
    """
    target = results / f"{cell.name}.json"
    base = fingerprint(resolve_init(BASE))
    if target.exists():
        stored = json.loads(target.read_text())
        for name, ours in (("base", base), ("questions", questions)):
            if stored.get(name) != ours:
                raise ValueError(
                    f"{target} was made with {name} {stored.get(name)}, today's is {ours}, which would not compare: "
                    f"remove it and {workdirs / cell.name}, or give other --results and --workdirs"
                )
        return 0
    method = METHODS[cell.method]
    workdir = workdirs / cell.name
    checkpoint = BASE
    if method.recipe:
        announce(f"{cell.name}: training in {workdir}")
        code = train(cell, workdir / "run")
        if not (workdir / "run" / DONE).exists():
            return code or 1
        checkpoint = str(workdir / "run")
    announce(f"{cell.name}: evaluation of {questions} questions a column")
    spent = Spent(workdir / "evaluation" / SPENT)
    decoding = replace(PAPER, max_new_tokens=_longest(cell), seed=cell.seed)
    numbers = _evaluate(cell, checkpoint, decoding, workdir / "evaluation", questions, spent.note)
    result = {
        **asdict(cell),
        "base": base,
        "prompt": method.prompt,
        "questions": questions,
        "decoding": asdict(decoding),
        "benchmarks": numbers,
        "training": _training(workdir / "run") if method.recipe else {},
        "evaluation_cpu_seconds": round(spent.note(), 1),
        "machine": collect_versions(),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".tmp")
    part.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    part.rename(target)
    return 0


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The results that are there, in the order of tasks, methods and seeds; of other folders than the tasks' none."""
    places = list(table_tasks())
    paths = (path for task in places for path in sorted((folder / task).glob("*-seed*.json")))
    found = [json.loads(path.read_text()) for path in paths]
    order = lambda r: (places.index(r["task"]), list(METHODS).index(r["method"]), r["seed"])  # noqa: E731
    return sorted(found, key=order)


def _evaluate(
    cell: Cell, checkpoint: str, decoding: Decoding, folder: Path, count: int, note: Callable[[], Any]
) -> dict[str, Any]:
    """note(): called as answers are stored."""
    directory = resolve_init(checkpoint)
    mesh = make_mesh(kv_heads=read_config(directory).num_kv_heads)
    model, processor = load_parts(directory, "float32")
    params = load_for_inference(directory, model.config, mesh, jnp.dtype(jnp.float32))
    answerer = make_answerer(model, params, processor, mesh, decoding, batch=64)
    prompt = METHODS[cell.method].prompt
    about = {"cell": asdict(cell), "decoding": asdict(decoding), "prompt": prompt, "weights": fingerprint(directory)}
    same_evaluation(folder, about)
    with Pool(initializer=symbolic.load) as pool:
        numbers = {}
        task = table_tasks()[cell.task]
        for column in task.benchmarks:
            examples, ask, _ = sources.questions(Benchmark(task, column), "", count, prompt)
            numbers[column.name] = run_benchmark(
                column.name, task, examples, ask, answerer, folder, in_pool(pool), on_reply=lambda _: note()
            )
    return numbers


def _longest(cell: Cell) -> int:
    return table_tasks()[cell.task].shapes.completion + 32


def _training(run: Path) -> dict[str, Any]:
    """What a finished training says of itself: cost, and its curves over the steps, stage 1 apart."""
    done = json.loads((run / DONE).read_text())
    config = json.loads((run / "config.json").read_text())
    prompts = config["train"]["prompts"]
    training = {"cpu_seconds": done["cpu_seconds"], "prompts": prompts, **_curves(run)}
    if (run / STAGE1 / DONE).exists():
        first = json.loads((run / STAGE1 / DONE).read_text())
        training["stage1"] = {
            "cpu_seconds": first["cpu_seconds"],
            "prompts": config["stage1"]["train"]["prompts"],
            **_curves(run / STAGE1),
        }
    return training


def _curves(run: Path) -> dict[str, Any]:
    """held_out: the evaluations as they were logged. series: name -> [[step, value], ...] of what each step logged."""
    rewards = json.loads((run / "config.json").read_text())["rewards"]
    kept = {
        "completions/mean_length": "length", "kl": "kl", "loss": "loss", "reward": "reward",
        **{f"rewards/{name}/mean": "format reward" if name.startswith("format") else "task reward"
           for name, weight in rewards.items() if weight},
    }  # fmt: skip
    held_out, series = [], {}
    for record in read_metrics(run):
        # A share of no answers is NaN, which JSON does not know.
        scores = {n: v if math.isfinite(v) else None for n, v in record.items() if n.startswith("eval")}
        if scores:
            held_out.append({"step": record["step"], **scores})
        for name in kept.keys() & record.keys():
            if math.isfinite(record[name]):
                series.setdefault(kept[name], []).append([record["step"], round(float(record[name]), 5)])
    return {"held_out": held_out, "series": series}
