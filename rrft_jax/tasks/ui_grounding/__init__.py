"""Grounding on screens (UI-Venus): the box of the element that an instruction means, without a thought."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from rrft_jax.data.example import Example
from rrft_jax.rewards import screen_box
from rrft_jax.rewards.boxes import read_boxes
from rrft_jax.tasks.localised import checked_box, checked_size, in_thousandths, written_in
from rrft_jax.tasks.scoring import Scorer
from rrft_jax.tasks.task import Column, HeldOut, Prediction, Shapes, Task
from rrft_jax.tasks.texts import ans_target
from rrft_jax.tasks.ui_grounding import generator

TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "SCREEN_SHORT": "Box of: {Question}",
        # Points, as version 1.5 answers; in our words.
        "SCREEN_POINT": "Point to: {Question}. The output should be only [x,y], whole numbers between 0 and 1000, or "
        "[-1,-1] where there is none.",
        # As published, of the 7B and the 72B model.
        "SCREEN_7B": "Outline the position corresponding to the instruction: {Question}. The output should be only "
        "[x1,y1,x2,y2].",
        "SCREEN_72B": 'Output the bounding box in the image corresponding to the instruction "{Question}" with '
        "grounding. The output should be only [x1,y1,x2,y2].",
    }
)
FIELDS = ("bbox", "box")  # ScreenSpot's name, and ours


def _record(example: Example) -> Example:
    """A gold box in pixels of the picture, in metadata `bbox` or `box` or as the answer, with `size` or `img_size`."""
    refusal = example.answer.replace(" ", "") == generator.NO_ANSWER
    given = next((example.metadata[field] for field in FIELDS if example.metadata.get(field) is not None), None)
    if given is None and not refusal:
        found = read_boxes(example.answer)
        if len(found) != 1:
            raise ValueError(
                f"answer {example.answer!r:.80} is no box: give bbox [x1, y1, x2, y2] in pixels, or the answer [-1,-1] "
                "where no element fits"
            )
        given = list(found[0])
    size = checked_size(example)
    if given is None:
        return replace(example, metadata={**example.metadata, "box": None, "size": list(size)})
    box = checked_box(given, size, "bbox")
    answer = f"[{','.join(map(str, in_thousandths(box, size)))}]"
    return replace(example, answer=answer, metadata={**example.metadata, "box": list(box), "size": list(size)})


def summarise(predictions: Sequence[Prediction]) -> Mapping[str, float]:
    """ScreenSpot's metrics: action_acc over all, text_acc and icon_acc by `ui_type`, action_acc_<name> by `platform`
    and `group` where records have them, wrong_format."""
    hits = [(example, screen_box.in_box(texts[:1], [example], [0], 0)[0] or 0.0) for example, texts in predictions]
    metrics = {"action_acc": _mean([value for _, value in hits])}
    for kind in ("text", "icon"):
        some = [value for example, value in hits if example.metadata.get("ui_type") == kind]
        metrics |= {f"{kind}_acc": _mean(some)} if some else {}
    for field in ("platform", "group"):
        for name in sorted({str(example.metadata[field]) for example, _ in hits if example.metadata.get(field)}):
            some = [value for example, value in hits if str(example.metadata.get(field)) == name]
            metrics[f"action_acc_{name}"] = _mean(some)
    wrong = [not screen_box.box_format(texts[:1], [example], [0], 0)[0] for example, texts in predictions]
    return metrics | {"wrong_format": float(sum(wrong))}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _key(text: str) -> str | None:
    found = re.findall(r"-?\d+", text[:200])
    return ",".join(found) if len(found) in (2, 4) else None


TASK = Task(
    name=generator.NAME,
    alias="screen",
    order=13,
    templates=TEMPLATES,
    prompts={"zero_shot": "SCREEN_7B", "ans": "SCREEN_SHORT", "cot": "SCREEN_SHORT"},
    published={"zero_shot": "SCREEN_7B", "ans": "SCREEN_7B", "cot": "SCREEN_7B"},
    targets={"cot": ans_target, "ans": ans_target},  # no thought, as published
    rewards={"box_format": 0.1, "in_box": 0.9},
    paper_rewards={"box_format": 0.1, "in_box": 0.9},
    metric="in_box",
    scorer=Scorer(
        strict=screen_box.in_box, key=_key, answer_type=lambda example: str(example.metadata.get("ui_type", "text"))
    ),
    summarise=summarise,
    make=generator.example,
    held_out={"eval": HeldOut("in", "in-domain"), "eval_ood": HeldOut("out", "other words")},
    benchmarks=(
        Column(name="screen_id", title="Screens"), Column(name="screen_ood", title="Other words", domain="out"),
    ),
    record=_record,
    rewrite=written_in("thousandths"),
    shapes=Shapes(prompt=64, images=1, completion=24),
)  # fmt: skip
