"""From a loss per token to one sum and one weight."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.losses.masked import masked_sum

AGGREGATIONS = ("sequence_mean_token_mean", "token_mean", "constant_length", "sequence_sum")


def aggregate(
    x: Float[HostOrDevice, "B G #C"],
    mask: Bool[HostOrDevice, "B G C"],
    row_weight: Float[HostOrDevice, "B G"],
    how: str,
    max_completion_length: int | None = None,
) -> tuple[Float[Array, ""], Shaped[HostOrDevice | np.number, ""]]:
    """(sum, weight) of x over the tokens of the mask.

    Rows are weighted with row_weight; a row without tokens counts as a sequence whose loss is 0.
      sequence_mean_token_mean  mean over sequences of the mean over their tokens (the paper, TRL's grpo)
      token_mean                mean over all tokens of the batch (TRL's dapo and bnpo)
      constant_length           sum over tokens / (sequences * max_completion_length) (Dr. GRPO)
      sequence_sum              mean over sequences of the sum over their tokens (TRL's luspo)
    """
    sums = masked_sum(x, mask, -1)  # [B, G]
    tokens = mask.sum(-1)
    sequences = row_weight.sum()
    match how:
        case "sequence_mean_token_mean":
            return (row_weight * sums / jnp.maximum(tokens, 1)).sum(), sequences
        case "token_mean":
            return (row_weight * sums).sum(), (row_weight * tokens).sum()
        case "constant_length":
            return (row_weight * sums).sum(), sequences * max_completion_length
        case "sequence_sum":
            return (row_weight * sums).sum(), sequences
    raise ValueError(f"aggregation must be one of {', '.join(AGGREGATIONS)}; got {how!r}")
