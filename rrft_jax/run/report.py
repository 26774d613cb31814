"""What a run prints at an evaluation and at its end."""

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from rrft_jax.run.clock import cpu_seconds
from rrft_jax.run.metrics import read_metrics
from rrft_jax.run.progress import Row, before_after_table, duration
from rrft_jax.run.workdir import ADAPTER, EXPORT, Workdir

_LABELS = MappingProxyType({
    "accuracy": "accuracy", "score": "score with partial credit", "reasons": "answers that reason",
    "accuracy_reasoned": "accuracy of reasoned answers", "accuracy_direct": "accuracy of direct answers",
    "format": "format", "mean_length": "mean length (tokens)",
})  # fmt: skip


def eval_line(step: int, scores: dict[str, float]) -> str:
    """One line of the log about an evaluation."""
    parts = [
        f"{name.removesuffix('/accuracy')} {value:.1%}" + _of(scores, name.removesuffix("/accuracy"))
        for name, value in scores.items()
        if name.endswith("/accuracy")
    ]
    return f"[step {step}] held-out greedy accuracy: {', '.join(parts)}; reasons {scores['eval/reasons']:.0%}"


def _of(scores: Mapping[str, float], name: str) -> str:
    """" of 256", the number of questions, where it is known."""
    count = scores.get(f"{name}/questions")
    return f" of {count:.0f}" if count else ""


def margin(share: float, count: float) -> float:
    """Half of the 95 % interval of a share of `count` questions, by the normal approximation."""
    return 1.96 * math.sqrt(share * (1 - share) / count)


def result_table(path: Path, titles: Mapping[str, str]) -> str:
    """Before / after over the held-out sets, from the metrics on disk. titles: of the sets, by name.

    A metric that the task takes of a whole set follows the others under its own name, as it is.
    """
    records = [r for r in read_metrics(path) if any(k.startswith("eval") for k in r)]
    if not records:
        return "(no held-out set was evaluated)"
    before, after = records[0], records[-1]
    rows = []
    for name in dict.fromkeys(key.partition("/")[0] for key in before if key.startswith("eval")):
        title = titles.get(name, name)
        own = [key.removeprefix(f"{name}/") for key in before if key.startswith(f"{name}/")]
        own = [key for key in own if key != "questions"]
        count = after.get(f"{name}/questions")
        labels = _LABELS | {key: key for key in own if key not in _LABELS}
        partial = any(record.get(f"{name}/score") != record.get(f"{name}/accuracy") for record in (before, after))
        for key, label in labels.items():
            if key == "score" and not partial:
                continue
            values = [record.get(f"{name}/{key}") for record in (before, after)]
            if any(v is not None for v in values):
                # NaN: no answer of this kind, so no accuracy either.
                values = [None if v is None or math.isnan(v) else v for v in values]
                if key == "accuracy" and count and values[1] is not None:
                    label = f"{label} ({count:.0f} questions, ± {100 * margin(values[1], count):.1f})"
                rows.append(Row(f"{title}: {label}", *values, key in _LABELS and key != "mean_length"))
    return before_after_table(rows, (f"step {before['step']}", f"step {after['step']}", "change"))


def finish(run_dir: Workdir, num_tokens: float, earlier: float, titles: Mapping[str, str]) -> None:
    """Marks the run as done and prints its results. earlier: what to add to `cpu_seconds` for the whole run. titles:
    of the held-out sets, by name."""
    path = run_dir.path
    cpu = earlier + cpu_seconds()
    run_dir.mark_done({"num_tokens": num_tokens, "cpu_seconds": round(cpu, 1)})
    print(result_table(path, titles))
    print(f"cost: {cpu:,.0f} CPU-seconds ({duration(cpu)}), start-up and compilation included")
    names = "timing/idle_share", "between_steps", "step_time"
    steps = [record for record in read_metrics(path) if None not in map(record.get, names)]
    idle, between, taken = (np.median([step[name] for step in steps]) for name in names)
    print(
        f"the device was idle for {idle:.1%} of a step (median); writing metrics and checkpoints took "
        f"{between / (taken + between):.1%} of the time"
    )
    print(f"written to {path}:")
    for name, what in (
        (EXPORT, "the result as a HuggingFace directory (bfloat16)"),
        (ADAPTER, "the LoRA adapter in PEFT's format, which hf/ has merged"),
        ("metrics.jsonl", "one object a step; TensorBoard events in tensorboard/"),
        ("completions", "pictures, prompts, completions, rewards and advantages"),
        ("checkpoints", "the last and the best step"),
        ("profile", "a trace of some steps, for ui.perfetto.dev or XProf"),
        ("config.json", "the resolved config; versions, git commit and seeds in versions.json"),
    ):
        if (path / name).exists():
            print(f"  {name:14} {what}")
    print("next:")
    for command in (
        f"launch/generate.py --checkpoint={path} --image=PICTURE --question='How many objects are there?'",
        f"launch/evaluate.py --checkpoint={path} --limit=100 --output={path}/evaluation",
        f"launch/serve.py --checkpoint={path}",
    ):
        print(f"  python {command}")
