"""The static mask of a group: every member sees the whole prompt and its own earlier tokens."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GroupMask:
    """Which of the keys [prefix + members * length] each of the members * length queries sees: all of the prefix, and
    of its own member's keys those up to itself. causal=False: every key. Indexing gives a bool array."""

    prefix: int
    members: int
    length: int
    causal: bool = True

    @property
    def shape(self) -> tuple[int, int]:
        own = self.members * self.length
        return own, self.prefix + own

    def __getitem__(self, index: tuple[slice, slice]) -> np.ndarray:
        rows, columns = (np.arange(n)[part] for n, part in zip(self.shape, index, strict=True))
        rows, columns = rows[:, None], columns[None] - self.prefix
        if not self.causal:
            return np.ones((rows.size, columns.size), bool)
        return (columns < 0) | (rows // self.length == columns // self.length) & (columns <= rows)
