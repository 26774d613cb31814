"""From the predictions of a benchmark to its numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from rrft_jax.data.example import Example
from rrft_jax.evaluation.questions import Reply
from rrft_jax.evaluation.scoring import Score
from rrft_jax.evaluation.statistics import Estimate, estimate, maj_at_k, pass_at_k

SCORES = ("paper_score", "strict_score", "exact")


def prediction(example: Example, reply: Reply, scores: Sequence[Score]) -> dict[str, Any]:
    """The line that is kept of one question: what came, and how each of its answers scored."""
    each = lambda name: [getattr(score, name) for score in scores]  # noqa: E731
    return {
        "id": example.id,
        "problem": example.problem,
        "gold": example.answer,
        "answer_type": scores[0].answer_type,
        "question_type": example.metadata.get("question_type"),
        "texts": list(reply.texts),
        "lengths": list(reply.lengths),
        "finished": list(reply.finished),
        "answers": each("answer"),
        **{name: each(name) for name in (*SCORES, "format_strict", "format_lenient")},
        "errors": [error for error in each("error") if error],
    }


def summarise(records: Sequence[Mapping[str, Any]], ks: Sequence[int] = ()) -> dict[str, Any]:
    """The numbers of a benchmark over its predictions. Scores are shares with 95 % intervals.

    Scores are over questions, a question with several answers by their mean. ks: the k of pass@k (any of k answers
    wholly right) and maj@k (the strict score of the most frequent answer), at most the answers there are.
    """
    several = len(records[0]["texts"])
    summary: dict[str, Any] = {"questions": len(records), "answers_each": several}
    for name in SCORES:
        summary[name] = asdict(_of(records, _mean_of(name)))
    for name in ("format_strict", "format_lenient"):
        summary[name] = float(np.mean([np.mean(r[name]) for r in records]))
    summary["by_answer_type"] = {
        kind: {"questions": len(some)} | {name: asdict(_of(some, _mean_of(name))) for name in SCORES}
        for kind, some in _grouped(records)
    }
    lengths = [n for r in records for n in r["lengths"] if n is not None]
    if lengths:
        quantiles = np.quantile(lengths, (0.5, 0.95))
        summary["length"] = {
            "mean": float(np.mean(lengths)), "median": float(quantiles[0]), "p95": float(quantiles[1]),
            "max": max(lengths),
        }  # fmt: skip
    summary["clipped_ratio"] = 1 - float(np.mean([np.mean(r["finished"]) for r in records]))
    summary["unscored"] = sum(len(r["errors"]) for r in records)
    for k in ks:
        if k <= several:
            summary[f"pass@{k}"] = asdict(_of(records, lambda r, k=k: pass_at_k(several, r["exact"].count(1.0), k)))
            summary[f"maj@{k}"] = asdict(_of(records, lambda r, k=k: maj_at_k(r["answers"], r["strict_score"], k)))
    return summary


def _of(records: Sequence[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float | None]) -> Estimate:
    return estimate([value(r) for r in records])


def _mean_of(name: str) -> Callable[[Mapping[str, Any]], float | None]:
    """The mean score of a question's answers: None where none has a score; one of several without counts as wrong."""

    def mean(record: Mapping[str, Any]) -> float | None:
        values = record[name]
        return None if all(v is None for v in values) else sum(v or 0.0 for v in values) / len(values)

    return mean


def _grouped(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        kinds.setdefault(str(record["answer_type"]), []).append(record)
    return sorted(kinds.items())
