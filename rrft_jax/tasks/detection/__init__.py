"""Object detection by category (Visual-RFT): boxes with a confidence each, or "No Objects"."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rrft_jax.answers.detections import read_detections, write_detections
from rrft_jax.data.example import Example
from rrft_jax.rewards import detection as rewards
from rrft_jax.rewards.boxes import Box
from rrft_jax.tasks.detection import generator, prompts
from rrft_jax.tasks.detection.average_precision import Query, mean_average_precision
from rrft_jax.tasks.localised import checked_box, checked_size, in_thousandths, one_line_target, written_in
from rrft_jax.tasks.scoring import Scorer
from rrft_jax.tasks.task import Column, HeldOut, Prediction, Shapes, Task
from rrft_jax.tasks.texts import ans_target

FULL = 1000  # a whole side in thousandths


def _record(example: Example) -> Example:
    """Boxes in pixels (metadata `boxes` with `size`) become the answer in thousandths; an answer of its own is
    checked. A question that is only its category becomes the published one."""
    if example.problem == example.metadata.get("category"):
        example = replace(example, problem=prompts.published(example.problem))
    boxes = example.metadata.get("boxes")
    if boxes is None:
        for box in rewards.gold_boxes(example):
            checked_box(list(box), (FULL, FULL), "answer: box")
        return example
    if not isinstance(boxes, list):
        raise ValueError(f"boxes is {boxes!r:.80}; give a list of [x1, y1, x2, y2] in pixels, [] for none")
    size = checked_size(example)
    answer = write_detections([in_thousandths(checked_box(box, size, "boxes: box"), size) for box in boxes])
    return replace(example, answer=answer)


def summarise(predictions: Sequence[Prediction]) -> Mapping[str, float]:
    """COCO's mAP and AP at IoU 0.5 over (picture, category), in thousandths; the share of absent objects that are said
    to be absent."""
    queries: dict[str, list[Query]] = {}
    absent = []
    for example, texts in predictions:
        gold, found = rewards.gold_boxes(example), read_detections(texts[0]) or []
        queries.setdefault(str(example.metadata.get("category", "")), []).append(
            Query(gold, [(Box(*each.position), each.confidence) for each in found])
        )
        if not gold:
            absent.append(float(read_detections(texts[0]) == []))
    return mean_average_precision(queries) | ({"absent_right": sum(absent) / len(absent)} if absent else {})


def _key(text: str) -> str | None:
    found = read_detections(text)
    return None if found is None else write_detections(sorted([int(x) for x in each.position] for each in found))


TASK = Task(
    name=generator.NAME,
    alias="detection",
    order=10,
    templates=prompts.TEMPLATES,
    prompts={"zero_shot": "DETECT_ZS", "ans": "DETECT_ANS", "cot": "DETECT_COT"},
    published={"zero_shot": "DETECT_RECORD", "ans": "DETECT_RECORD", "cot": "DETECT_RECORD"},
    targets={"cot": one_line_target, "ans": ans_target},
    rewards={"detection_iou": 1.0, "detection_confidence": 1.0, "format": 1.0},
    paper_rewards={"detection_iou_paper": 1.0, "detection_confidence_paper": 1.0, "format_paper": 1.0},
    metric="detection_found",
    scorer=Scorer(
        strict=rewards.iou, exact=rewards.found, key=_key,
        answer_type=lambda example: "present" if rewards.gold_boxes(example) else "absent",
    ),
    summarise=summarise,
    make=generator.example,
    held_out={"eval": HeldOut("in", "in-domain"), "eval_ood": HeldOut("out", "vehicles")},
    benchmarks=(
        Column(name="detection_id", title="Scenes"), Column(name="detection_ood", title="Vehicles", domain="out"),
    ),
    record=_record,
    rewrite=written_in("thousandths"),
    shapes=Shapes(prompt=96, images=1, completion=168),
)  # fmt: skip
