"""Grounding of one box (Visual-RFT on LISA): GIoU + 1, in [0, 2]. Coordinates are thousandths of the sides."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rrft_jax.answers.tags import extract_answer, published_answer_of_a_line
from rrft_jax.rewards.boxes import Box, giou, iou, read_boxes
from rrft_jax.rewards.symbolic import settle
from rrft_jax.rewards.values import Values, gold_answer, gold_text

if TYPE_CHECKING:
    from rrft_jax.data.example import Example

_PUBLISHED = re.compile(r"\(\s*(\d{1,9})\s*,\s*(\d{1,9})\s*\)\s*,\s*\(\s*(\d{1,9})\s*,\s*(\d{1,9})\s*\)")


def grounding_giou(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """GIoU + 1 with the gold box; 0.0 for an answer with no box, with several, or with one that has no area."""
    return _score(completions, examples, lambda box, gold: giou(box, gold) + 1.0)


def grounding_iou(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """IoU with the gold box, in [0, 1]."""
    return _score(completions, examples, iou)


def grounding_hit(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """1.0 where IoU with the gold box is above 0.5, else 0.0."""
    return _score(completions, examples, lambda box, gold: float(iou(box, gold) > 0.5))


def paper(completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int) -> Values:
    """The published reward: whole numbers only, the answer's line or else the whole text, 2.0 for equal text; of
    several boxes the first corners of the first two are taken for one."""

    def decide(text: str, example: "Example") -> float:
        gold = published_answer_of_a_line(gold_answer(example)).strip()
        said = published_answer_of_a_line(text).strip()
        if said == gold:
            return 2.0
        predicted, wanted = _published_box(said), _published_box(gold)
        if predicted is None or wanted is None:
            return 0.0
        return _raw_giou(predicted, wanted) + 1.0

    return settle(decide, completions, examples)


def one_box(text: str) -> Box | None:
    """The box of a completion's answer; None where it gives none, or several."""
    answer = extract_answer(text)
    boxes = read_boxes(answer.text) if answer else []
    return boxes[0] if len(boxes) == 1 and boxes[0].upright else None


def gold_box(example: "Example") -> Box:
    """The gold box in thousandths; ValueError where the answer is not one box."""
    boxes = read_boxes(gold_text(example))
    if len(boxes) != 1 or not boxes[0].upright:
        raise ValueError(
            f"example {example.id}: answer {example.answer!r:.80} is no box such as (100,200),(500,600); "
            "correct the record"
        )
    return boxes[0]


def _score(completions, examples, judge) -> Values:
    def decide(text: str, example: "Example") -> float:
        gold, box = gold_box(example), one_box(text)
        return 0.0 if box is None else judge(box, gold)

    values = settle(decide, completions, examples)
    return Values(values, values.errors, [i for i, text in enumerate(completions) if one_box(text) is None])


def _published_box(text: str) -> Box | None:
    found = _PUBLISHED.findall(text)
    if len(found) > 1:
        return Box(*map(float, (*found[0][:2], *found[1][:2])))
    return Box(*map(float, found[0])) if found else None


def _raw_giou(a: Box, b: Box) -> float:
    """GIoU also of boxes without an area, as the published code has it; -1 where nothing encloses an area."""
    both = max(0.0, min(a.x2, b.x2) - max(a.x1, b.x1)) * max(0.0, min(a.y2, b.y2) - max(a.y1, b.y1))
    union = sum(abs((x.x2 - x.x1) * (x.y2 - x.y1)) for x in (a, b)) - both
    around = (max(a.x2, b.x2) - min(a.x1, b.x1)) * (max(a.y2, b.y2) - min(a.y1, b.y1))
    if union <= 0 or around <= 0:
        return -1.0
    return min(1.0, max(-1.0, both / union - (around - union) / around))
