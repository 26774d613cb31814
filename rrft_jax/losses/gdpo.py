"""Each reward normalised by itself before they are summed, so that one with a wide spread does not drown the others."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.losses.advantages import center
from rrft_jax.losses.masked import safe_divide


def gdpo(
    rewards: Shaped[HostOrDevice, "B G"],
    row_weight: Shaped[HostOrDevice, "B G"],
    parts: Shaped[HostOrDevice, "F B G"],
    weights: Shaped[HostOrDevice, " F"],
    *,
    ddof: int = 1,
    epsilon: float = 1e-4,
) -> tuple[Float[Array, "B G"], dict[str, Float[Array, ""]]]:
    """GDPO (arXiv 2601.05242; TRL's multi_objective_aggregation="normalize_then_sum").

    Each reward function's values become (v - mean of the group) / (std + epsilon); their sum with the functions'
    weights is normalised over the batch in the same way. A value that a function did not give adds nothing; a
    completion without a total takes no part.
    """
    valid = jnp.isfinite(jnp.asarray(rewards)) & (row_weight > 0)
    parts = jnp.asarray(parts, jnp.float32)

    def normalised(part: Float[Array, "B G"]) -> Float[Array, "B G"]:
        centered, std = center(part, valid & jnp.isfinite(part), ddof, axis=-1)
        return safe_divide(centered, std + epsilon)

    summed = (jax.vmap(normalised)(parts) * jnp.asarray(weights, jnp.float32)[:, None, None]).sum(0)
    centered, std = center(summed, valid, ddof, axis=None)
    return safe_divide(centered, std + epsilon), {}
