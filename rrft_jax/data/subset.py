"""Selects a part of the training examples: places in a seeded random order that is the same for every run.

So "the 1,600 records of stage 1" and "the remaining ones" never overlap, whatever the seeds of the two runs.
"""

from collections.abc import Sequence

import numpy as np

from rrft_jax.data.example import Example
from rrft_jax.data.pictures import picture_key

_ADDRESS = (0x5B5E7,)  # not the run's seed: the two stages of a recipe must agree


def chosen(count: int, start: int, stop: int) -> np.ndarray:
    """bool[count]: whether each of `count` examples lies at places start ... stop - 1 of the order; stop 0: the end.

    Raises ValueError where no example is left.
    """
    words = np.random.Philox(np.random.SeedSequence(_ADDRESS)).random_raw(count) if count else np.zeros(0)
    mask = np.zeros(count, bool)
    mask[np.argsort(words, kind="stable")[start : stop or None]] = True
    if not mask.any():
        raise ValueError(f"config.data.range={start},{stop} leaves none of the {count} training examples")
    return mask


def generated_number(place: int, start: int, stop: int) -> int:
    """The number of the generated example at `place` of training: start, start + 1, ..., beginning again at stop."""
    return start + (place % (stop - start) if stop else place)


def usable(examples: Sequence[Example], kept: Sequence[Example], numbers: np.ndarray) -> np.ndarray:
    """Places int64[K] in `kept`, ascending, of those examples[numbers] that are there."""
    places = {example.id: place for place, example in enumerate(kept)}
    found = [places[examples[n].id] for n in numbers.tolist() if examples[n].id in places]
    return np.array(found, np.int64)


def hold_out(examples: Sequence[Example], wanted: int) -> np.ndarray:
    """Numbers int64[K], ascending, of the records of whole pictures, K >= wanted: no picture is on both sides.

    Fewer where only one picture would be left to train on; a record without pictures stands for itself. The choice
    does not depend on the run's seed: runs are compared on the same questions.
    """
    pictures = linked(examples)
    order = np.argsort(np.random.Philox(np.random.SeedSequence(0xDA7A)).random_raw(len(pictures)))
    out: list[int] = []
    for picture in order[:-1]:
        if len(out) >= wanted:
            break
        out += pictures[picture]
    return np.sort(np.array(out, np.int64))


def linked(examples: Sequence[Example]) -> list[list[int]]:
    """Record numbers in groups that share no picture with one another, in order of first appearance."""
    group_of: dict[str, list[int]] = {}  # picture -> its group; records with several pictures join groups
    for number, example in enumerate(examples):
        keys = [picture_key(image) for image in example.images] or [f"record {number}"]
        groups = {id(group_of[key]): group_of[key] for key in keys if key in group_of}
        merged = sorted({number, *(n for group in groups.values() for n in group)})
        moved = [key for key, group in group_of.items() if id(group) in groups] if len(groups) > 1 else []
        target = next(iter(groups.values())) if len(groups) == 1 else []
        target[:] = merged
        for key in [*keys, *moved]:
            group_of[key] = target
    return sorted({id(group): group for group in group_of.values()}.values())
