"""Functions that change one attribute of one object: applying them, drawing them, and their text."""

from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from rrft_jax.data.trance_text import function
from rrft_jax.tasks.scenes.shapes import COLOURS, MATERIALS, SHAPES, SIZES
from rrft_jax.tasks.scenes.things import Thing
from rrft_jax.tasks.spatial_transformation.scene import DIRECTIONS, RADII, STEP, sample_scene, stands_clear

# In the order in which an object's functions are given: that of its spoken attributes, then its position.
VALUES = {
    "size": SIZES,
    "color": tuple(COLOURS),
    "material": MATERIALS,
    "shape": SHAPES,
    "position": tuple(DIRECTIONS),
}
_KINDS = tuple(VALUES)
SPOKEN = ("size", "color", "material", "shape")  # the names that functions give to Thing.attributes()
NUMBERS = {1: 0.35, 2: 0.35, 3: 0.2, 4: 0.1}  # share of each number of functions
MAX_MOVES = 2
MAX_PER_OBJECT = 2
TRIES = 12  # draws of objects and values in one scene before another scene is drawn
# A displacement this close to a step (or to none) could be taken for it, in scene units.
TOLERANCE = 0.8


@dataclass(frozen=True, order=True)
class Change:
    """Object `number` gets `value` for the attribute VALUES[kind]; changes sort in the order of an answer."""

    number: int
    kind: int
    value: str

    @property
    def attribute(self) -> str:
        return _KINDS[self.kind]


@dataclass(frozen=True)
class Transformation:
    """Objects before and after, by id (from left to right in the initial picture), and the sorted changes between."""

    before: tuple[Thing, ...]
    after: tuple[Thing, ...]
    changes: tuple[Change, ...]


def answer(changes: tuple[Change, ...]) -> str:
    """The functions as text: "change_size(0, large), change_position(2, front_left)"."""
    return ", ".join(function(change.attribute, change.number, change.value) for change in changes)


def apply(things: tuple[Thing, ...], changes: tuple[Change, ...]) -> tuple[Thing, ...]:
    """The objects after the changes. An object keeps its turn, and whatever no change names."""
    after = list(things)
    for change in changes:
        thing, value = after[change.number], change.value
        match change.attribute:
            case "size":
                thing = replace(thing, size=value, radius=RADII[value])
            case "color":
                thing = replace(thing, colour=value)
            case "material":
                thing = replace(thing, material=value)
            case "shape":
                thing = replace(thing, shape=value)
            case "position":
                aside, deep = DIRECTIONS[value]
                thing = replace(thing, x=thing.x + STEP * aside, y=thing.y + STEP * deep)
        after[change.number] = thing
    return tuple(after)


def readings(before: tuple[Thing, ...], after: tuple[Thing, ...]) -> np.ndarray:
    """int[...]: how many functions each possible reading needs; the reading that keeps the ids comes first.

    A reading says which object of `after` each one of `before` became, each having stayed or moved by about one step.
    """
    n = len(before)
    here, there = (np.array([(thing.x, thing.y) for thing in things]) for things in (before, after))
    steps = STEP * np.array([(0, 0), *DIRECTIONS.values()])
    off = np.linalg.norm(there[None, :, None] - here[:, None, None] - steps, axis=-1)  # [before, after, steps]
    step, near = off.argmin(axis=-1), off.min(axis=-1) <= TOLERANCE
    differ = [[sum(a != b for a, b in zip(x.attributes(), y.attributes(), strict=True)) for y in after] for x in before]
    costs = np.where(near, np.array(differ) + (step > 0), 100)
    totals = costs[np.arange(n), np.array(list(permutations(range(n))))].sum(axis=1)
    return np.append(totals[:1], totals[1:][totals[1:] < 100])


def sample_transformation(rng: np.random.Generator) -> Transformation:
    """Draws how many functions, which attributes and which values, then scenes and objects until these allow them.

    What is returned has one shortest reading, its own.
    """
    number = int(rng.choice(list(NUMBERS), p=list(NUMBERS.values())))
    kinds = rng.integers(len(VALUES), size=number).tolist()
    while kinds.count(_KINDS.index("position")) > MAX_MOVES:
        kinds = rng.integers(len(VALUES), size=number).tolist()
    # Fixed before any scene, or else moves that need less room, and smaller sizes, would come up more often.
    values = [VALUES[_KINDS[kind]][int(rng.integers(len(VALUES[_KINDS[kind]])))] for kind in kinds]
    while True:
        before = sample_scene(rng)
        if not before:
            continue
        for _ in range(TRIES):
            numbers = rng.integers(len(before), size=number).tolist()
            changes = tuple(sorted(Change(*change) for change in zip(numbers, kinds, values, strict=True)))
            if not _allowed(before, changes):
                continue
            after = apply(before, changes)
            if stands_clear(after):
                needed = readings(before, after)
                if np.all(needed[1:] > needed[0]):
                    return Transformation(before, after, changes)


def _allowed(things: tuple[Thing, ...], changes: tuple[Change, ...]) -> bool:
    """Whether every change sets another attribute, to another value, and no object gets more than its share."""
    numbers = [change.number for change in changes]
    if len({(c.number, c.kind) for c in changes}) < len(changes) or max(map(numbers.count, numbers)) > MAX_PER_OBJECT:
        return False
    return all(change.value not in things[change.number].attributes() for change in changes)
