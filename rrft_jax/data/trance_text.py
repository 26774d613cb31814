"""The question and the answer of a TRANCE sample as text, from its metadata (`states`, `transformations` of TVR).

The published question text could not be had; ours lists the same tuples. The answer has the published form.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

DIRECTIONS = ("front", "behind", "left", "right", "front_left", "front_right", "behind_left", "behind_right")
# What each function may set an attribute to. TVR writes front-left, the answers front_left.
VALUES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "size": ("small", "medium", "large"),
        "color": ("yellow", "gray", "cyan", "blue", "brown", "green", "red", "purple"),
        "material": ("glass", "metal", "rubber"),
        "shape": ("cube", "sphere", "cylinder"),
        "position": DIRECTIONS,
    }
)
TUPLE_ORDER = ("shape", "size", "color", "material")


def problem_text(objects: Sequence[Mapping[str, Any]]) -> str:
    """The attributes of the initial objects, their ids being their places in the list (as TVR's `obj_idx` counts).

    Each object has at least shape, size, color and material. ValueError names the object and the field that is wrong.
    """
    rows = []
    for number, thing in enumerate(objects):
        values = [_value(thing.get(name), name, f"object {number}") for name in TUPLE_ORDER]
        rows.append("(" + ",".join(f"'{value}'" for value in (str(number), *values)) + ")")
    if not rows:
        raise ValueError("no objects: the initial state of a sample lists at least one")
    return f"The attributes of the initial objects: [{', '.join(rows)}]"


def answer_text(transformations: Sequence[Mapping[str, Any]]) -> str:
    """The functions in the order of the metadata: "change_color(2, cyan), change_position(2, behind)".

    Each has obj_idx, attr and val; of a position's val, [direction, step], the direction alone is kept.
    ValueError names the transformation and the field that is wrong.
    """
    calls = []
    for number, change in enumerate(transformations):
        where, name, value = f"transformation {number}", change.get("attr"), change.get("val")
        if not isinstance(name, str) or name not in VALUES:
            raise ValueError(f"{where}: attr {name!r} is not one of {', '.join(VALUES)}")
        if name == "position" and not isinstance(value, str):
            value = value[0] if isinstance(value, Sequence) and value else value
        calls.append(function(name, change.get("obj_idx"), _value(value, name, where)))
    if not calls:
        raise ValueError("no transformations: a sample has at least one")
    return ", ".join(calls)


def function(attribute: str, number: Any, value: str) -> str:
    """One function of an answer: "change_size(3, large)". ValueError for an object that is no number from 0."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError(f"change_{attribute}: object {number!r} is no number from 0")
    return f"change_{attribute}({number}, {value})"


def _value(value: Any, name: str, where: str) -> str:
    spelled = value.replace("-", "_") if isinstance(value, str) else value
    if spelled not in VALUES[name]:
        raise ValueError(f"{where}: {name} {value!r} is not one of {', '.join(VALUES[name])}")
    return spelled
