"""The question and the chain of thought of a spatial example.

The thought goes through the objects by id, one line each: "2:1" says that object 2 is number 1 from the left, counted
from 0, in the final picture, which is where to look. Then come its initial attributes one by one, each with its
judgement, "same" or the value that the final picture shows; and last "stays" or the direction in which it moved. So a
judgement tests a single word, the one before it, against one object of one picture, and the answer copies what is
neither "same" nor "stays", in that order. No function is spelled out before the answer, since a scorer that searches
the whole text would count it twice.
"""

import re

import numpy as np

from rrft_jax.tasks.scenes.things import Thing, name
from rrft_jax.tasks.spatial_transformation.changes import SPOKEN, Transformation

STAYS, SAME = "stays", "same"


def question(things: tuple[Thing, ...]) -> str:
    """Lists the initial objects by id and asks."""
    lines = [f"{number} {name(thing)}" for number, thing in enumerate(things)]
    return "\n".join(["Initial objects:", *lines, "What changed?"])


def chain_of_thought(transformation: Transformation, ranks: np.ndarray) -> str:
    """One line an object: "2:1 small same red cyan metal same cube same front_left.".

    ranks: int[objects], by id, the places from left to right in the final picture.
    """
    new = {(change.number, change.attribute): change.value for change in transformation.changes}
    lines = []
    for number, thing in enumerate(transformation.before):
        words = [f"{number}:{ranks[number]}"]
        for attribute, value in zip(SPOKEN, thing.attributes(), strict=True):
            words += [value, new.get((number, attribute), SAME)]
        words.append(new.get((number, "position"), STAYS))
        lines.append(" ".join(words) + ".")
    return "\n".join(lines)


def judged_spans(thought: str) -> list[tuple[int, int]]:
    """Where a line such as "2:1 small same red cyan metal same cube same front_left." says its rank, then every second
    word, and the move. ValueError for a line that is no such."""
    found = []
    for line in re.finditer(r"^\d+:.*$", thought, re.MULTILINE):
        words = list(re.compile(r"[^\s.]+").finditer(thought, line.start(), line.end()))
        if len(words) != 10:
            raise ValueError(f"{len(words)} words in the line {line.group()!r}")
        found += [words[0], *words[2:9:2], words[9]]
    return [match.span() for match in found]
