"""How the B prompts of a batch are placed on the rows that the devices share: padding, split groups, rows of a process.

    B = 14 on 8 devices            16 rows, the last two of weight 0
    B = 2, G = 8 on 8 devices       8 rows, each prompt on 4 of them with 2 of its completions

A split group computes its prompt once per row; the devices would idle otherwise.
"""

from dataclasses import dataclass, field

import jax
import numpy as np
from jax.sharding import Mesh

from rrft_jax.parallel.mesh import batch_sharding, batch_shards


@dataclass(frozen=True)
class Layout:
    """prompts: B. rows: R, a multiple of the devices that share the batch. split: how many rows, one after the other, a
    prompt takes, each with G / split members. mine: int64[r], ascending, the rows that this process's devices hold.
    owned: bool[r], those of them that no process with a lower number holds too, so that each row is scored once.
    micro_batches: parts of the rows that an update has in memory one after the other, each with rows of all devices.
    """

    prompts: int
    rows: int
    split: int = 1
    mine: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    owned: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    micro_batches: int = 1

    @property
    def prompt_of(self) -> np.ndarray:
        """int64[r]: the prompt of each of this process's rows, >= B where the row only fills the batch."""
        return self.mine // self.split

    def first_member(self, group: int) -> np.ndarray:
        """int32[r]: which member of its group (of `group`) is the first one on each of this process's rows."""
        return (self.mine % self.split * (group // self.split)).astype(np.int32)

    def describe(self) -> str:
        """One line for the start of a run; empty where every row is a whole prompt."""
        parts = []
        if self.split > 1:
            parts.append(f"each group split over {self.split} rows, its prompt computed on each")
        if empty := self.rows - self.prompts * self.split:
            parts.append(f"{empty} of weight 0")
        return f"{self.prompts} prompts a step on {self.rows} rows: {', '.join(parts)}" if parts else ""


def one_row_each(prompts: int) -> Layout:
    """One row per prompt, all of them here."""
    return Layout(prompts, prompts, 1, np.arange(prompts), np.ones(prompts, bool))


def spread(prompts: int, group: int, shards: int) -> Layout:
    """The fewest rows that divide over `shards` devices; where there are fewer prompts than devices, groups of `group`
    members are split over as many rows as divide both the group and the devices. Nothing is `mine` yet."""
    splits = [s for s in range(1, group + 1) if group % s == 0 == shards % s and (s == 1 or prompts * s <= shards)]
    split = max(splits)
    return Layout(prompts, -(-prompts * split // shards) * shards, split)


def plan(mesh: Mesh, prompts: int, group: int = 1, micro_batches: int = 1) -> Layout:
    """The layout of `prompts` prompts with `group` completions on this mesh, with the rows of this process.

    micro_batches: 0 is one row of each device at a time, the least memory, on however many devices a run has.
    Raises ValueError where the micro-batches of a step would not give every device a row.
    """
    shards = batch_shards(mesh)
    layout = spread(prompts, group, shards)
    per_device = layout.rows // shards
    micro_batches = micro_batches or per_device
    if per_device % micro_batches:
        choices = [str(n) for n in range(1, per_device + 1) if per_device % n == 0]
        raise ValueError(
            f"config.train.micro_batches={micro_batches} must divide the {per_device} rows that each device has of "
            f"config.train.prompts={prompts} (padded to {layout.rows} rows on {shards} devices): "
            f"give {' or '.join(choices)}, or 0 for one row of each device at a time"
        )
    return Layout(layout.prompts, layout.rows, layout.split, *process_rows(mesh, layout.rows), micro_batches)


def process_rows(mesh: Mesh, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """(mine, owned) of a batch of `rows` rows, as in `Layout`."""
    places = batch_sharding(mesh).devices_indices_map((rows,))
    holder = np.full(rows, np.iinfo(np.int64).max)
    mine = np.zeros(rows, bool)
    for device, index in places.items():
        holder[index] = np.minimum(holder[index], device.process_index)
        mine[index] |= device.process_index == jax.process_index()
    return np.flatnonzero(mine), holder[mine] == jax.process_index()
