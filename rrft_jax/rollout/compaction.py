"""Live completions of a batch that has mostly ended, moved into a smaller one: fixed shapes, rows chosen as it runs."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Shaped

# `compact` of evaluations: a few answers that reason, or never end, among many short ones are the rule there.
EVALUATION = 8


def stages(rows: int, factor: int) -> tuple[int, ...]:
    """Batch sizes after the first, each the one before divided by `factor`, down to one row; none for factor 0.

    Raises ValueError for a factor of 1 or less than 0.
    """
    if factor < 0 or factor == 1:
        raise ValueError(f"compact={factor}: give how many times smaller a batch becomes, 2 or more, or 0 for never")
    sizes = []
    while factor and rows > 1:
        rows = max(rows // factor, 1)
        sizes.append(rows)
    return tuple(sizes)


def live_first(done: Bool[Array, "B G"], rows: int) -> Int[Array, " rows"]:
    """Numbers, in the flattened array, of the members to keep, those that are not done first."""
    return jnp.argsort(done.reshape(-1), stable=True)[:rows]


def take_members(tree: Any, numbers: Int[Array, " rows"]) -> Any:
    """Arrays [B, G, ...] to [n, 1, ...]: the n members with these numbers in the flattened batch, each its own row."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[numbers][:, None], tree)


def put_members(tree: Any, numbers: Int[Array, " rows"], members: Any) -> Any:
    """`tree` with the members of `take_members` back in their places."""

    def put(old: Shaped[Array, "B G *rest"], new: Shaped[Array, "rows 1 *rest"]) -> Shaped[Array, "B G *rest"]:
        return old.reshape(-1, *old.shape[2:]).at[numbers].set(new[:, 0], unique_indices=True).reshape(old.shape)

    return jax.tree.map(put, tree, members)
