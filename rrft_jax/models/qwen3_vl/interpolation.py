"""A square table of learned positions, read between its entries for pictures of any size: grids are data here too."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rrft_jax.arrays import HostOrDevice


def taps(
    position: Int[HostOrDevice, "S n 2"], mask: Bool[HostOrDevice, "S n"], side: int | Int[Array, ""]
) -> tuple[Int[Array, "S n 4"], Float[Array, "S n 4"]]:
    """The four entries of a table of side x side around each patch at (row, column), and their weights: bilinear, the
    corners of a picture on those of the table (`get_vision_interpolation_indices_and_weights` of transformers).

    A picture is as large as its patches say; weights of padding mean nothing.
    """
    last = jnp.maximum(jnp.max(jnp.where(mask[..., None], position, 0), axis=1, keepdims=True), 1)
    # Whole numbers: a quotient that a compiler rounds otherwise must not fall below the entry that it lies on.
    floor, rest = jnp.divmod(position * (side - 1), last)
    entry = jnp.clip(jnp.stack([floor, floor + 1], axis=-1), 0, side - 1)  # [S, n, axis, 2]
    weight = jnp.stack([last - rest, rest], axis=-1) / last[..., None]
    index = entry[..., 0, :, None] * side + entry[..., 1, None, :]
    both = weight[..., 0, :, None] * weight[..., 1, None, :]
    return index.reshape(*mask.shape, 4), both.reshape(*mask.shape, 4)


def interpolated(
    table: Float[HostOrDevice, "entries E"], index: Int[HostOrDevice, "S n 4"], weight: Float[HostOrDevice, "S n 4"]
) -> Float[Array, "S n E"]:
    """The weighted sum of the entries, in float32; one entry a patch at a time, for all four would be four times x."""
    table = table.astype(jnp.float32)
    return sum(table[index[..., i]] * weight[..., i, None] for i in range(4))
