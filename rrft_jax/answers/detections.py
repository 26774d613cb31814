"""Detections in an answer: [{'Position': [x1, y1, x2, y2], 'Confidence': c}, ...], as Visual-RFT writes them."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from rrft_jax.answers.tags import extract_answer, published_answer_of_a_line

NOTHING = "No Objects"
_ITEM = re.compile(r"\{[^{}]*\}?")
_SPACE = r"\s{0,8}"
_NUMBER = r"[-+]?(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})"
_POSITION = re.compile(
    rf"position[\"']?{_SPACE}:{_SPACE}[\[(]{_SPACE}"
    + f"{_SPACE},{_SPACE}".join([f"({_NUMBER})"] * 4)
    + rf"{_SPACE}[\])]",
    re.IGNORECASE,
)
_CONFIDENCE = re.compile(rf"confidence[\"']?{_SPACE}:{_SPACE}[\"']?({_NUMBER})[\"']?{_SPACE}(?=[,}}])", re.IGNORECASE)
_NONE = re.compile(r"\W*(?:no objects?\W*|\[\s*\]\W*)", re.IGNORECASE)


class Detection(NamedTuple):
    """position: x1, y1, x2, y2. confidence: that the object is there."""

    position: tuple[float, float, float, float]
    confidence: float


def read_detections(text: str) -> list[Detection] | None:
    """The detections of a completion's answer, each box once; [] where it says that there are none.

    None where it gives no answer, or one of its items lacks a position of four numbers or a confidence in [0, 1]. A
    last item that was cut off is left out, as are spaces, line breaks and the kind of quotes.
    """
    answer = extract_answer(text)
    if answer is None:
        return None
    items = _ITEM.findall(answer.text)
    if not items:
        return [] if _NONE.fullmatch(answer.text) else None
    if not items[-1].endswith("}"):
        items.pop()
    found = []
    for item in items:
        position, confidence = _POSITION.search(item), _CONFIDENCE.search(item)
        if position is None or confidence is None or not 0.0 <= float(confidence[1]) <= 1.0:
            return None
        x1, y1, x2, y2 = (float(x) for x in position.groups())
        found.append(Detection((x1, y1, x2, y2), float(confidence[1])))
    return distinct(found) if found else None


def read_published_detections(text: str) -> list[Detection] | None:
    """As the published code reads them, quirks included; None where it finds no list.

    The first <answer> pair within one line, else the whole text; the list is closed behind its last whole item if it is
    cut off; single quotes become double ones; what JSON then is no list of objects with numbers is nothing.
    """
    wrapped = f"<answer>{published_answer_of_a_line(text).strip()}</answer>"
    wrapped = wrapped.replace("[[", "[").replace("]]", "]").replace("\n", "")
    body = wrapped[wrapped.index("<answer>") + len("<answer>") : wrapped.index("</answer>")].strip()
    if not body.endswith("]"):
        body = body[: max(0, body.rfind("},"))] + "}]"
    try:
        values = json.loads(body.replace("'", '"'))
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, list) or not values:
        return None
    detections = [_detection(value) for value in values]
    found = [detection for detection in detections if detection is not None]
    return distinct(found) if len(found) == len(detections) else None


def distinct(detections: Sequence[Detection]) -> list[Detection]:
    """Without those whose box came before."""
    first: dict[tuple, Detection] = {}
    for detection in detections:
        first.setdefault(detection.position, detection)
    return list(first.values())


def write_detections(boxes: Sequence[Sequence[int]], confidence: str = "1") -> str:
    """An answer with these boxes."""
    items = (f"{{'Position': [{', '.join(map(str, box))}], 'Confidence': {confidence}}}" for box in boxes)
    return f"[{', '.join(items)}]" if len(boxes) else NOTHING


def _detection(value: Any) -> Detection | None:
    if not isinstance(value, dict):
        return None
    position, confidence = value.get("Position"), value.get("Confidence")
    given = [*position, confidence] if isinstance(position, list) and len(position) == 4 else [None]
    numbers = [x for x in given if isinstance(x, int | float) and not isinstance(x, bool)]
    if len(numbers) != 5:
        return None
    try:
        x1, y1, x2, y2, c = map(float, numbers)
    except OverflowError:
        return None
    return Detection((x1, y1, x2, y2), c) if all(map(math.isfinite, (x1, y1, x2, y2, c))) else None
