"""What is wrong with an answer in the systems' six tasks: one of a few kinds, so that a run's failures can be counted.

"right" is what the task's metric calls right. Boxes that meet gold with an IoU of at least NEAR, and points within
twice the distance that counts, are imprecise: the object is found. What lies elsewhere is another object, or none.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import dist

from rrft_jax.answers.detections import read_detections
from rrft_jax.answers.tags import extract_answer
from rrft_jax.data.example import Example
from rrft_jax.rewards import class_name, detection, grounding, pointing, screen_action, screen_box
from rrft_jax.rewards.boxes import Box, iou
from rrft_jax.rewards.coordinates import convert, frame_of
from rrft_jax.rewards.format import is_strict
from rrft_jax.rewards.points import l1
from rrft_jax.rewards.registry import get

NEAR = 0.1  # IoU from which a box is about the object
KINDS = ("right", "imprecise", "elsewhere", "number", "absent", "action", "text", "colour", "shape", "parse", "format")


def _detection(text: str, example: Example) -> str:
    gold, found = detection.gold_boxes(example), read_detections(text)
    if found is None:
        return "parse"
    if bool(gold) != bool(found):
        return "absent"
    if len(gold) != len(found):
        return "number"
    boxes = [Box(*each.position) for each in found]
    return "imprecise" if all(max(iou(box, other) for other in boxes) >= NEAR for box in gold) else "elsewhere"


def _classification(text: str, example: Example) -> str:
    said = extract_answer(text)
    words = class_name.plain(said.text) if said else ""
    colour, _, shape = example.answer.partition(" ")
    if colour in words:
        return "shape"
    return "colour" if shape in words else "elsewhere" if words else "parse"


def _grounding(text: str, example: Example) -> str:
    box = grounding.one_box(text)
    if box is None:
        return "parse"
    return "imprecise" if iou(box, grounding.gold_box(example)) >= NEAR else "elsewhere"


def _screen(text: str, example: Example) -> str:
    gold, found = screen_box.gold_pixels(example), grounding.read_boxes(text)
    refuses = text.replace(" ", "").strip() == "[-1,-1]"
    if gold is None or refuses:
        return "absent"
    if len(found) != 1:
        return "parse"
    said = Box(*convert(found[0], "thousandths", "pixels", frame_of(example)))
    width, height = gold.x2 - gold.x1, gold.y2 - gold.y1
    wide = Box(gold.x1 - width / 2, gold.y1 - height / 2, gold.x2 + width / 2, gold.y2 + height / 2)
    return "imprecise" if wide.holds(*said.centre) else "elsewhere"


def _navigation(text: str, example: Example) -> str:
    gold, said = screen_action.gold_action(example), screen_action.said_action(text)
    if said is None:
        return "parse"
    if said.name != gold.name:
        return "action"
    places = [(said.point(name), gold.point(name)) for name in ("box", "start", "end") if gold.point(name)]
    if not places:
        return "text"
    frame = frame_of(example)
    off = max(dist(convert(one, "thousandths", "pixels", frame), two) if one else frame.diagonal for one, two in places)
    return "imprecise" if off <= 2 * screen_action.FAR * frame.diagonal else "elsewhere"


def _referring(text: str, example: Example) -> str:
    point, frame = pointing.said_point(text), frame_of(example)
    if point is None:
        return "parse"
    off = l1(convert(point, "unit", "pixels", frame), pointing.gold_point(example))
    return "imprecise" if off <= 2 * pointing.SHARE * frame.diagonal else "elsewhere"


# Task -> its metric, whether answers are in tags, and the kind of an answer that the metric calls wrong.
_OF: Mapping[str, tuple[str, bool, Callable[[str, Example], str]]] = {
    "detection": ("detection_found", True, _detection),
    "classification": ("class_name", True, _classification),
    "reasoning_grounding": ("grounding_hit", True, _grounding),
    "ui_grounding": ("in_box", False, _screen),
    "ui_navigation": ("action_step", False, _navigation),
    "spatial_referring": ("point_near", True, _referring),
}


def kinds(task: str, texts: Sequence[str], examples: Sequence[Example]) -> list[str]:
    """One of KINDS for each answer."""
    name, tagged, why = _OF[task]
    values = get(name)(texts, examples, list(range(len(texts))), 0)
    return [
        "right" if (value or 0.0) >= 1 else "format" if tagged and not is_strict(text) else why(text, example)
        for value, text, example in zip(values, texts, examples, strict=True)
    ]


def shares(found: Sequence[str]) -> dict[str, float]:
    """The share of each kind that occurs, in the order of KINDS."""
    counts = Counter(found)
    return {kind: round(counts[kind] / len(found), 4) for kind in KINDS if counts[kind]}
