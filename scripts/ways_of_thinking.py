"""How a model thinks and how often it is right, from predictions of launch/evaluate.py, as Markdown.

    python launch/evaluate.py --checkpoint=nano --benchmark=visual_counting --prompt=cot --temperature=1 --top_p=1 \\
        --top_k=0 --samples=8 --max_new_tokens=112 --limit=256 --output=workdirs/ways
    python scripts/ways_of_thinking.py workdirs/ways

A row for each benchmark in the folder: format kept, accuracy, pass@k, and of each way of the mixture its share of the
answers with, in brackets, the share of these that are right.
"""

import json
from pathlib import Path

import numpy as np
from absl import app
from nano_mixture import WAYS, way

from rrft_jax.evaluation.statistics import pass_at_k


def row(records: list[dict]) -> list[str]:
    """format, pass@1, pass@2, ..., ways."""
    texts = [text for record in records for text in record["texts"]]
    right = np.array([value == 1.0 for record in records for value in record["exact"]])
    ways = np.array([way(text) for text in texts])
    each = len(records[0]["texts"])
    hits = [sum(value == 1.0 for value in record["exact"]) for record in records]
    passed = [np.mean([pass_at_k(each, n, k) for n in hits]) for k in ks(each)]
    told = [
        f"{100 * np.mean(ways == name):.1f} % ({100 * right[ways == name].mean():.0f} %)" if name in ways else "none"
        for name in (*WAYS, "")
    ]
    kept = np.mean([value for record in records for value in record["format_strict"]])
    return [f"{100 * kept:.1f} %", *(f"{100 * value:.1f} %" for value in passed), *told]


def ks(samples: int) -> list[int]:
    return [k for k in (1, 4, 8, 16, 32, 64) if k <= samples]


def main(argv: list[str]) -> None:
    files = [file for folder in argv[1:] for file in sorted(Path(folder).glob("*.jsonl"))]
    if not files:
        raise app.UsageError("give at least one folder that launch/evaluate.py wrote")
    found = [(file, [json.loads(line) for line in file.read_text().splitlines()]) for file in files]
    head = ["", "format", *(f"pass@{k}" for k in ks(len(found[0][1][0]["texts"]))), *WAYS, "no such way"]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for file, records in found:
        print("| " + " | ".join([f"{file.parent.name}/{file.stem}", *row(records)]) + " |")


if __name__ == "__main__":
    app.run(main)
