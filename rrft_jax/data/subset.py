"""A part of the training examples: places of a seeded random order, the same for every run.

So "the 1,600 records of stage 1" and "the remaining ones" never overlap, whatever the seeds of the two runs.
"""

import numpy as np

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
