"""Attention inside windows of a picture, whatever its size: which window a patch is in is data, not a shape.

Patches are put into the order of their windows, where those of one window are neighbours, at most `side` squared of
them. Queries are then taken in chunks of as many patches: whatever a query may see lies in its own chunk, the one
before or the one after, and the numbers of the windows say which of these it is. So the work is in proportion to the
patches, one program serves every picture of a bucket, and windows cut off by an edge cost no padding.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.dense_attention import attend_in_parts

PADDING = jnp.iinfo(jnp.int32).max  # the number of the window of what is no patch: the last in order


class Windows(NamedTuple):
    """order: the merged cells in the order of their windows; number: the window of each patch, in that order."""

    order: Int[Array, "S cells"]
    number: Int[Array, "S n"]


def windows_of(
    position: Int[HostOrDevice, "S n 2"], mask: Bool[HostOrDevice, "S n"], side: int | Int[Array, ""], merged: int
) -> Windows:
    """The windows of side x side patches that patches at (row, column), in merge order, lie in.

    merged: patches of a visual token, which stay together; `side` is a multiple of a token's. Windows are numbered row
    by row from the upper left corner, the patches of each stay in the order they had: `get_vision_window_index` of
    transformers.
    """
    n = position.shape[1]
    cell = position[:, ::merged] // side
    number = jnp.where(mask[:, ::merged], cell[..., 0] * n + cell[..., 1], PADDING)  # no row has more than n patches
    order = jnp.argsort(number, axis=-1, stable=True)
    return Windows(order, jnp.repeat(jnp.take_along_axis(number, order, axis=-1), merged, axis=-1))


def in_order(x: Shaped[HostOrDevice, "S n *rest"], order: Int[HostOrDevice, "S cells"]) -> Shaped[Array, "S n *rest"]:
    """Patches in merge order, or features, in the order of `order`."""
    S, cells = order.shape
    grouped = x.reshape(S, cells, -1)
    return jnp.take_along_axis(grouped, order[..., None], axis=1).reshape(x.shape)


def back(x: Float[HostOrDevice, "S cells D"], order: Int[HostOrDevice, "S cells"]) -> Float[Array, "S cells D"]:
    """Features where their cells were before `in_order`."""
    return in_order(x, jnp.argsort(order, axis=-1))


def attend_windows(
    number: Int[HostOrDevice, "S n"],
    most: int,
    q: Float[HostOrDevice, "S n H A"],
    k: Float[HostOrDevice, "S H n A"],
    v: Float[HostOrDevice, "S H n A"],
) -> Float[Array, "S n H A"]:
    """Every patch sees the patches of its window. number: of the window of each, in order; most: patches in one."""
    S, n, H, A = q.shape
    if n <= 3 * most:  # the neighbours would be everything
        mask = _same(number, number)
        return attend_in_parts(q[:, None], k[:, None], v[:, None], mask[:, None])[:, 0]
    G = -(-n // most)
    pad = lambda x, axis, **how: jnp.pad(  # noqa: E731
        x, [(0, G * most - n) if i == axis else (0, 0) for i in range(x.ndim)], **how
    )
    number = pad(number, 1, constant_values=PADDING).reshape(S, G, most)
    q = pad(q, 1).reshape(S, G, most, H, A)
    k, v = (jnp.moveaxis(pad(x, 2).reshape(S, H, G, most, A), 2, 1) for x in (k, v))
    mask = _same(number, _with_neighbours(number, 2, PADDING))
    out = attend_in_parts(q, _with_neighbours(k, 3, 0), _with_neighbours(v, 3, 0), mask)
    return out.reshape(S, G * most, H, A)[:, :n]


def _same(queries: Int[HostOrDevice, "*rows T"], keys: Int[HostOrDevice, "*rows U"]) -> Bool[HostOrDevice, "*rows T U"]:
    return (queries[..., :, None] == keys[..., None, :]) & (keys != PADDING)[..., None, :]


def _with_neighbours(x: Shaped[HostOrDevice, "S G ..."], axis: int, edge: int) -> Shaped[Array, "S G ..."]:
    """Each chunk (axis 1) joined along `axis` with the one before and the one after, beyond the ends with `edge`."""
    ends = jnp.pad(x, [(1, 1) if i == 1 else (0, 0) for i in range(x.ndim)], constant_values=edge)
    return jnp.concatenate([ends[:, :-2], x, ends[:, 2:]], axis=axis)
