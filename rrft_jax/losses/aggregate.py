"""From a loss per token to one sum and one weight."""

import jax.numpy as jnp

from rrft_jax.losses.masked import masked_sum

AGGREGATIONS = ("sequence_mean_token_mean", "token_mean", "constant_length", "sequence_sum")


def aggregate(x, mask, row_weight, how, max_completion_length=None):
    """(sum, weight), float32[] each, of x float32[B, G, C or 1] over the tokens of mask bool[B, G, C].

    Rows are weighted with row_weight float32[B, G]; a row without tokens counts as a sequence whose loss is 0.
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
