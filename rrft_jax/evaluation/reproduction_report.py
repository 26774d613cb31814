"""The miniature's report from the results of its cells: table with intervals, cost, adaptation gap, figures."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rrft_jax.evaluation.adaptation import adaptation
from rrft_jax.evaluation.claims import claims_table
from rrft_jax.evaluation.figures import Line, panels
from rrft_jax.evaluation.report import markdown
from rrft_jax.evaluation.reproduction import METHODS, table_tasks

Result = dict[str, Any]
SCORES = {"strict_score": "strict score", "paper_score": "paper's score"}
REPORT = "table.md"


def write_reproduction(results: Sequence[Result], folder: Path) -> str:
    """Writes table.md and the figures into `folder`; returns the text."""
    seeds = sorted({r["seed"] for r in results})
    questions = sorted({r["questions"] for r in results})
    parts = [
        "# The table in miniature",
        f"Nano, {'seed' if len(seeds) == 1 else 'seeds'} {_listed(seeds)}, {_listed(questions)} generated questions a "
        "column, per cent. A cell is the mean over seeds, the 95 % interval over questions of one seed (mean bounds), "
        "and the lowest and highest seed where there are several. Nothing here is a result about Qwen2-VL-2B or 7B.",
        *(f"## {title.capitalize()}\n\n{score_table(results, name)}" for name, title in SCORES.items()),
        f"## Cost\n\n{cost_table(results)}",
    ]
    if claims := claims_table(results):
        parts.append(f"## Claims\n\nBy the rules of docs/miniature.md, which were written before the runs.\n\n{claims}")
    if gaps := gap_table(results):
        parts.append(f"## Transient adaptation gap\n\n{gaps}")
    for name, (title, panel) in figures(results).items():
        if any(panel.values()):
            (folder / f"{name}.svg").write_text(panels(title, panel))
            parts.append(f"![{title}]({name}.svg)")
    text = "\n\n".join(parts) + "\n"
    (folder / REPORT).write_text(text)
    return text


def score_table(results: Sequence[Result], score: str) -> str:
    """A row per method, a column per benchmark, and per task the plain mean of its columns."""
    columns: list[tuple[str, list[str]]] = []
    for task in table_tasks().values():
        names = [column.name for column in task.benchmarks]
        if any(name in r["benchmarks"] for r in results for name in names):
            columns += [(name, [name]) for name in names]
            columns.append((f"{names[0].partition('_')[0]} mean", names))
    rows = []
    for method, about in METHODS.items():
        mine = [r for r in results if r["method"] == method]
        if mine:
            rows.append([about.title, *(_cell(mine, names, score) for _, names in columns)])
    return markdown(["", *(title for title, _ in columns)], rows)


def _cell(results: Sequence[Result], names: Sequence[str], score: str) -> str:
    found = [r["benchmarks"] for r in results if set(names) <= set(r["benchmarks"])]
    if not found:
        return ""
    means = [100 * np.mean([b[name][score]["mean"] for name in names]) for b in found]
    text = f"{np.mean(means):.1f}"
    if len(names) == 1:
        low, high = (100 * np.mean([b[names[0]][score][end] for b in found]) for end in ("low", "high"))
        text += f" [{low:.1f}, {high:.1f}]"
    return text + (f" ({min(means):.1f}, {max(means):.1f})" if len(means) > 1 else "")


def cost_table(results: Sequence[Result]) -> str:
    """CPU-seconds of training and evaluation by task and method, the mean over seeds."""
    rows = []
    for task, method, mine in _grouped(results):
        trained = [_training_seconds(r) for r in mine]
        evaluated = [r["evaluation_cpu_seconds"] for r in mine]
        rows.append([task, METHODS[method].title, f"{np.mean(trained):,.0f}", f"{np.mean(evaluated):,.0f}"])
    total = sum(float(cell.replace(",", "")) for row in rows for cell in row[2:])
    rows.append(["all", "", f"{total:,.0f}", "together"])
    return markdown(["task", "method", "training, CPU-s", "evaluation, CPU-s"], rows)


def _training_seconds(result: Result) -> float:
    training = result["training"]
    return training.get("cpu_seconds", 0.0) + training.get("stage1", {}).get("cpu_seconds", 0.0)


def gap_table(results: Sequence[Result], within: int = 100) -> str:
    """gap = acc(0) - min acc(t), and the first step that is back at acc(0), over the first `within` steps of GRPO from
    the base (specification of the paper's "transient adaptation gap"); held-out greedy accuracy."""
    rows = []
    for result in results:
        if result["method"] != "reason_rft_zero":
            continue
        for name in _sets(result["training"]["held_out"]):
            curve = [(r["step"], r[f"{name}/accuracy"]) for r in result["training"]["held_out"] if r["step"] <= within]
            found = adaptation(curve)
            back = "never" if found.recovery_step is None else str(found.recovery_step)
            rows.append([
                result["task"], name, str(result["seed"]), f"{100 * curve[0][1]:.1f}", f"{100 * found.gap:.1f}",
                str(found.lowest_step), back, f"{100 * curve[-1][1]:.1f}",
            ])  # fmt: skip
    head = ["task", "held-out set", "seed", "start, %", "gap, points", "lowest at step", "back at step", "end, %"]
    return markdown(head, rows) if rows else ""


def figures(results: Sequence[Result]) -> dict[str, tuple[str, dict[str, list[Line]]]]:
    """File stem -> (title, panel title -> lines)."""
    efficiency: dict[str, list[Line]] = {}
    lengths: dict[str, list[Line]] = {}
    rewards: dict[str, list[Line]] = {}
    for task, method, mine in _grouped(results):
        title = METHODS[method].title
        for name in sorted({name for r in mine for name in _sets(r["training"].get("held_out", ()))}):
            lines = [_held_out(r["training"], name) for r in mine]
            efficiency.setdefault(f"{task}, {name}", []).append(Line(title, *_mean(lines)))
        for store, names in ((lengths, ("length",)), (rewards, ("task reward", "format reward"))):
            for name in names:
                found = [r["training"].get("series", {}).get(name) for r in mine]
                if all(found) and method.startswith("reason"):
                    label = title if store is lengths else f"{title}: {name}"
                    store.setdefault(task, []).append(Line(label, *_mean([_xy(f) for f in found])))
    return {
        "data_efficiency": ("Held-out greedy accuracy (%) over training examples seen", efficiency),
        "length": ("Mean length of rollouts (tokens) over steps of GRPO", lengths),
        "rewards": ("Mean rewards over steps of GRPO", rewards),
    }


def _held_out(training: Result, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Examples seen, stage 1 included, and accuracy in per cent."""
    seen, accuracy, before = [], [], 0
    for stage in filter(None, (training.get("stage1"), training)):
        curve = [(r["step"], r[f"{name}/accuracy"]) for r in stage["held_out"] if f"{name}/accuracy" in r]
        seen += [before + step * stage["prompts"] for step, _ in curve]
        accuracy += [100 * value for _, value in curve]
        before = seen[-1] if seen else 0
    return np.array(seen), np.array(accuracy)


def _xy(series: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.array(series).T
    return x, y


def _mean(lines: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, mean, lowest and highest over seeds, as far as all of them go."""
    length = min(len(x) for x, _ in lines)
    values = np.stack([y[:length] for _, y in lines])
    return lines[0][0][:length], values.mean(0), values.min(0), values.max(0)


def _sets(held_out: Iterable[Result]) -> list[str]:
    return sorted({k.partition("/")[0] for r in held_out for k in r if k.endswith("/accuracy")})


def _grouped(results: Sequence[Result]) -> list[tuple[str, str, list[Result]]]:
    keys = dict.fromkeys((r["task"], r["method"]) for r in results)
    return [(task, method, [r for r in results if (r["task"], r["method"]) == (task, method)]) for task, method in keys]


def _listed(values: Sequence[Any]) -> str:
    return json.dumps(list(values)).strip("[]")
