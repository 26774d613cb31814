"""Before / after of several finished runs as one Markdown table: mean, and each run's own figure behind it.

python scripts/summarise_runs.py workdirs/main-seed0 workdirs/main-seed1 workdirs/main-seed2
"""

import json
import math
from pathlib import Path

from absl import app

from rrft_jax.run.metrics import read_metrics

SETS = {"eval": "in-domain", "eval_ood": "out-of-domain", "eval_left": "from the left", "eval_right": "from the right"}
FIGURES = {
    "accuracy": "accuracy",
    "reasons": "answers that reason",
    "accuracy_reasoned": "accuracy of reasoned answers",
    "accuracy_direct": "accuracy of direct answers",
    "format": "format",
}


def _tokens(values: list[float]) -> str:
    return f"{sum(values) / len(values):.1f} ({', '.join(f'{v:.1f}' for v in values)})"


def _share(values: list[float]) -> str:
    """Mean in percent, with the runs in brackets; a dash where a run has no answer of the kind."""
    known = [v for v in values if not math.isnan(v)]
    if not known:
        return "-"
    each = ", ".join("-" if math.isnan(v) else f"{100 * v:.1f}" for v in values)
    return f"{100 * sum(known) / len(known):.1f} % ({each})"


def main(argv: list[str]) -> None:
    workdirs = [Path(name) for name in argv[1:]]
    if not workdirs:
        raise app.UsageError("give at least one workdir")
    for workdir in workdirs:
        if not (workdir / "DONE").exists():
            raise app.UsageError(f"{workdir} holds no finished run (no file DONE): resume it first")
    runs = [[r for r in read_metrics(w) if "eval/accuracy" in r] for w in workdirs]
    for workdir, run in zip(workdirs, runs, strict=True):
        if not run:
            raise app.UsageError(f"{workdir} was never evaluated (no eval/accuracy in its metrics.jsonl): leave it out")
    print(f"| {len(runs)} run(s) | step {runs[0][0]['step']} | step {runs[0][-1]['step']} | change |")
    print("| --- | --- | --- | --- |")
    for prefix, title in SETS.items():
        if not any(f"{prefix}/accuracy" in run[0] for run in runs):
            continue
        for key, label in FIGURES.items():
            name = f"{prefix}/{key}"
            before, after = ([run[i].get(name, math.nan) for run in runs] for i in (0, -1))
            change = [a - b for a, b in zip(after, before, strict=True)]
            mean = [c for c in change if not math.isnan(c)]
            shown = f"{100 * sum(mean) / len(mean):+.1f} points" if mean else "-"
            print(f"| {title}: {label} | {_share(before)} | {_share(after)} | {shown} |")
        if all(f"{prefix}/mean_length" in run[0] for run in runs):
            before, after = ([run[i][f"{prefix}/mean_length"] for run in runs] for i in (0, -1))
            change = (sum(after) - sum(before)) / len(runs)
            print(f"| {title}: tokens of an answer | {_tokens(before)} | {_tokens(after)} | {change:+.1f} |")
    cost = [json.loads((w / "DONE").read_text())["cpu_seconds"] for w in workdirs]
    print(f"\nCPU-seconds: {', '.join(f'{c:,.0f}' for c in cost)}")


if __name__ == "__main__":
    app.run(main)
