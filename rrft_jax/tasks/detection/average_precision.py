"""COCO's mean average precision of boxes, in numpy; a test compares it with pycocotools.

As pycocotools has it: at each of ten IoU thresholds from 0.5 to 0.95 every detection of an image and category, the most
confident first and at most 100 of them, takes the gold box of greatest IoU that is left; precision is made monotonous
and read at 101 recalls; categories without gold are left out. Crowds and area ranges are not.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rrft_jax.rewards.boxes import Box, iou_table

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100


class Query(NamedTuple):
    """One image asked for one category. found: boxes with confidence, in their order."""

    gold: Sequence[Box]
    found: Sequence[tuple[Box, float]]


def mean_average_precision(queries: Mapping[Any, Sequence[Query]]) -> dict[str, float]:
    """mAP over THRESHOLDS and AP at 0.5, from the queries of each category; {} where no category has gold."""
    rows = [average_precision(each) for each in queries.values() if any(query.gold for query in each)]
    if not rows:
        return {}
    mean = np.mean(rows, axis=0)
    return {"mAP": float(mean.mean()), "AP50": float(mean[0])}


def average_precision(queries: Sequence[Query]) -> np.ndarray:
    """float64[len(THRESHOLDS)] of one category."""
    scores, hits = [], []
    for query in queries:
        order = np.argsort([-score for _, score in query.found], kind="mergesort")[:MOST]
        boxes = [query.found[i][0] for i in order]
        scores += [query.found[i][1] for i in order]
        hits.append(_hits(iou_table(boxes, query.gold)))
    total = sum(len(query.gold) for query in queries)
    order = np.argsort(-np.asarray(scores), kind="mergesort")
    right = np.concatenate(hits, axis=1)[:, order] if scores else np.zeros((len(THRESHOLDS), 0), bool)
    true = np.cumsum(right, axis=1)
    recall, precision = true / total, true / np.arange(1, right.shape[1] + 1)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    padded = np.pad(precision, ((0, 0), (0, 1)))
    return np.array([p[np.searchsorted(r, RECALLS, side="left")].mean() for r, p in zip(recall, padded, strict=True)])


def _hits(table: np.ndarray) -> np.ndarray:
    """bool[len(THRESHOLDS), boxes]: which boxes take a gold box. Of equal IoUs the last gold box is taken."""
    hits = np.zeros((len(THRESHOLDS), table.shape[0]), bool)
    for t, threshold in enumerate(np.minimum(THRESHOLDS, 1 - 1e-10)):
        left = np.ones(table.shape[1], bool)
        for i, row in enumerate(table):
            able = np.where(left, row, -1.0)
            if able.size and able.max() >= threshold:
                left[len(able) - 1 - int(np.argmax(able[::-1]))] = False
                hits[t, i] = True
    return hits
