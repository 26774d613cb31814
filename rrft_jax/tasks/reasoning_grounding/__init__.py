"""Grounding by reasoning (Visual-RFT on LISA): the box of the object that a question means."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from rrft_jax.data.example import Example
from rrft_jax.rewards import grounding as rewards
from rrft_jax.rewards.boxes import Box, iou
from rrft_jax.tasks.localised import THINKING, checked_box, checked_size, in_thousandths, one_line_target, written_in
from rrft_jax.tasks.reasoning_grounding import generator
from rrft_jax.tasks.scoring import Scorer
from rrft_jax.tasks.task import Column, HeldOut, Prediction, Shapes, Task
from rrft_jax.tasks.texts import ans_target

TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "GROUND_COT": f"{{Question}} {THINKING}",
        "GROUND_ANS": "{Question}",
        # As published, with its spelling.
        "GROUND_PUBLISHED": "{Question} Output the thinking process in <think> </think> and your grouding box. "
        'Following "<think> thinking process </think>\n<answer>(x1,y1),(x2,y2)</answer>)" format.',
    }
)


def _record(example: Example) -> Example:
    """A box in pixels (metadata `box` with `size`) becomes the answer in thousandths; an answer of its own is
    checked."""
    if example.metadata.get("box") is None:
        checked_box(list(rewards.gold_box(example)), (1000, 1000), "answer: box")
        return example
    size = checked_size(example)
    x1, y1, x2, y2 = in_thousandths(checked_box(example.metadata["box"], size), size)
    return replace(example, answer=f"({x1},{y1}),({x2},{y2})")


def summarise(predictions: Sequence[Prediction]) -> Mapping[str, float]:
    """Of boxes: gIoU, the mean of IoUs (0 without a box); cIoU, all intersections over all unions, in pixels where the
    size is known; the share above 0.5."""
    values, both, either = [], 0.0, 0.0
    for example, texts in predictions:
        gold, found = rewards.gold_box(example), rewards.one_box(texts[0])
        values.append(iou(found, gold) if found else 0.0)
        width, height = example.metadata.get("size") or (1, 1)
        area = width * height / 1e6
        union = gold.area + (found.area if found else 0.0)
        inside = values[-1] * union / (1 + values[-1])
        both, either = both + inside * area, either + (union - inside) * area
    return {
        "gIoU": sum(values) / len(values), "cIoU": both / either, "IoU50": sum(v > 0.5 for v in values) / len(values),
    }  # fmt: skip


def _key(text: str) -> str | None:
    box: Box | None = rewards.one_box(text)
    return None if box is None else str([int(x) for x in box])


TASK = Task(
    name=generator.NAME,
    alias="grounding",
    order=12,
    templates=TEMPLATES,
    prompts={"zero_shot": "GROUND_PUBLISHED", "ans": "GROUND_ANS", "cot": "GROUND_COT"},
    published={"zero_shot": "GROUND_PUBLISHED", "ans": "GROUND_ANS", "cot": "GROUND_PUBLISHED"},
    targets={"cot": one_line_target, "ans": ans_target},
    rewards={"grounding_giou": 1.0, "format": 1.0},
    paper_rewards={"grounding_giou_paper": 1.0, "format_paper": 1.0},
    metric="grounding_hit",
    scorer=Scorer(
        strict=rewards.grounding_iou, exact=rewards.grounding_hit, key=_key,
        answer_type=lambda example: str(example.metadata.get("question_type", "box")),
    ),
    summarise=summarise,
    make=generator.example,
    held_out={"eval": HeldOut("in", "in-domain"), "eval_ood": HeldOut("out", "vehicles")},
    benchmarks=(
        Column(name="grounding_id", title="Scenes"), Column(name="grounding_ood", title="Vehicles", domain="out"),
    ),
    record=_record,
    rewrite=written_in("thousandths"),
    shapes=Shapes(prompt=88, images=1, completion=64),
)  # fmt: skip
