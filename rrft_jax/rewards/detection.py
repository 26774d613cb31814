"""Object detection (Visual-RFT, arXiv 2503.01785): overlap and confidence of the boxes of an answer.

Predictions, the most confident first, each take the gold box of greatest IoU that is left, if it is above 0.5.
Coordinates are thousandths of the picture's sides, in gold as in predictions.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rrft_jax.answers.detections import Detection, read_detections, read_published_detections
from rrft_jax.rewards.boxes import Box, match
from rrft_jax.rewards.symbolic import settle
from rrft_jax.rewards.values import Values, gold_answer

if TYPE_CHECKING:
    from rrft_jax.data.example import Example

THRESHOLD = 0.5
Read = Callable[[str], "list[Detection] | None"]


def iou(completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int) -> Values:
    """The sum of the matched IoUs over the larger of the numbers of gold and predicted boxes, in [0, 1].

    In a picture without the object, 1.0 for an answer that says so and 0.0 for one with boxes.
    """
    return _score(completions, examples, lambda found, gold: overlap(found, gold) if gold else float(not found))


def confidence(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """The mean over predictions of c for a matched and 1 - c for an unmatched one, in [0, 1]; without predictions 1.0
    where nothing is there, else 0.0."""
    return _score(completions, examples, lambda found, gold: certainty(found, gold) if found else float(not gold))


def found(completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int) -> Values:
    """F1 of the boxes at IoU 0.5: 1.0 where every object has its box and there is no other."""

    def judge(predicted: list[Detection], gold: list[Box]) -> float:
        hits = sum(value > 0 for value in _matched(predicted, gold))
        return 2 * hits / (len(predicted) + len(gold)) if predicted or gold else 1.0

    return _score(completions, examples, judge)


def iou_paper(completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int) -> Values:
    """The published overlap in use (its second version), quirks included: `read_published_detections`, and 0.0 for
    every answer about a picture without the object."""
    return _paper(completions, examples, overlap)


def mean_iou_paper(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """The overlap as the paper prints it (eq. 4): the mean over predictions, so that a missed object costs nothing."""
    return _paper(completions, examples, lambda found, gold: sum(_matched(found, gold)) / len(found))


def confidence_paper(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """The published confidence reward, cut to [0, 1]."""
    return _paper(completions, examples, certainty)


def overlap(predicted: Sequence[Detection], gold: Sequence[Box]) -> float:
    """The sum of matched IoUs over the larger number of boxes, at most 1; 0 where there are none."""
    return min(1.0, sum(_matched(predicted, gold)) / max(len(predicted), len(gold))) if predicted and gold else 0.0


def certainty(predicted: Sequence[Detection], gold: Sequence[Box]) -> float:
    """The mean of c for matched and 1 - c for unmatched predictions, in [0, 1]; 0 where there are none."""
    ordered = _ordered(predicted)
    values = [
        d.confidence if hit else 1 - d.confidence for d, hit in zip(ordered, _matched(ordered, gold), strict=True)
    ]
    return min(1.0, max(0.0, sum(values) / len(values))) if values else 0.0


def gold_boxes(example: "Example") -> list[Box]:
    """The gold boxes of an example, in thousandths; ValueError where its answer is no list of them."""
    found = read_detections(gold_answer(example))
    if found is None:
        raise ValueError(
            f"example {example.id}: answer {example.answer!r:.80} is no list of boxes such as [{{'Position': "
            "[10, 20, 300, 400], 'Confidence': 1}] and not 'No Objects'; correct the record"
        )
    return [Box(*detection.position) for detection in found]


def _ordered(predicted: Sequence[Detection]) -> list[Detection]:
    return sorted(predicted, key=lambda detection: -detection.confidence)


def _matched(predicted: Sequence[Detection], gold: Sequence[Box]) -> list[float]:
    return match([Box(*detection.position) for detection in _ordered(predicted)], gold, THRESHOLD)


def _score(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    judge: Callable[[list[Detection], list[Box]], float],
    read: Read = read_detections,
) -> Values:
    def decide(text: str, example: "Example") -> float:
        gold, predicted = gold_boxes(example), read(text)
        return 0.0 if predicted is None else judge(predicted, gold)

    unread = [i for i, text in enumerate(completions) if read(text) is None]
    values = settle(decide, completions, examples)
    return Values(values, values.errors, unread)


def _paper(completions: Sequence[str], examples: "Sequence[Example]", judge: Callable) -> Values:
    return _score(completions, examples, judge, read_published_detections)
