"""Steps of perception in a thought, as RoboRefer writes them: [Position] [leftmost cup]: [(0.240, 0.385)]."""

import re
from typing import NamedTuple

KINDS = {"position": 2, "orientation": 3, "size": 1}  # and how many numbers the value of each has
_NUMBER = r"[-+]?\d{1,9}(?:\.\d{0,9})?"
_STEP = re.compile(
    r"\[(Position|Orientation|Size)(?: Perception)?\]\s{0,8}\[([^\[\]\n]{1,200})\]\s{0,8}:\s{0,8}"
    rf"[\[(]{{0,2}}\s{{0,8}}({_NUMBER}(?:\s{{0,8}},\s{{0,8}}{_NUMBER}){{0,2}})(?![\d.])",
    re.IGNORECASE,
)


class Perception(NamedTuple):
    """kind: position (x, y in shares of the sides), orientation (a direction) or size (metres). target: the object."""

    kind: str
    target: str
    value: tuple[float, ...]


def read_perceptions(text: str) -> list[Perception]:
    """The steps of a thought in their order, those whose value has another number of parts left out."""
    found = []
    for kind, target, numbers in _STEP.findall(text):
        value = tuple(float(x) for x in numbers.split(","))
        if len(value) == KINDS[kind.lower()]:
            found.append(Perception(kind.lower(), spell(target), value))
    return found


def spell(target: str) -> str:
    """An object's name in lower case, with single spaces."""
    return " ".join(target.casefold().split())


def write_perception(kind: str, target: str, value: tuple[float, ...]) -> str:
    """A step as the thought says it."""
    if kind == "size":
        return f"[Size] [{target}]: {value[0]:.2f}"
    digits = 3 if kind == "position" else 2
    numbers = f"({', '.join(f'{x:.{digits}f}' for x in value)})"
    return f"[{kind.capitalize()}] [{target}]: " + (f"[{numbers}]" if kind == "position" else numbers)
