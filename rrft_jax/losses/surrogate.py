"""Probability ratios and the policy losses on them, before any averaging.

`ratio` is float32[B, G, C], or [B, G, 1] where one ratio serves the whole sequence; `advantages` float32[B, G, 1];
losses (to be minimised) broadcast to [B, G, C]. Masked positions hold finite values that the aggregation leaves out.
"""

import jax
import jax.numpy as jnp

from rrft_jax.losses.kl import MAX_LOG
from rrft_jax.losses.masked import masked_sum


def token_ratio(log_ratio):
    """exp(log_ratio), one a token; flat past MAX_LOG."""
    return jnp.exp(jnp.minimum(log_ratio, MAX_LOG))


def sequence_ratio(log_ratio, mask):
    """GSPO (arXiv 2507.18071): the geometric mean of the token ratios of a sequence, float32[B, G, 1]."""
    tokens = jnp.maximum(mask.sum(-1, keepdims=True), 1)
    return token_ratio(masked_sum(log_ratio, mask, -1)[..., None] / tokens)


def on_policy(ratio, advantages):
    """Reason-RFT's form: the ratio is 1 in value and carries the policy gradient."""
    return -ratio * advantages


def clipped(ratio, advantages, low, high, delta=None, dual_clip=None):
    """PPO's clip to [1 - low, 1 + high].

    delta: TRL's two-sided clip, min(ratio, delta) in the unclipped branch. dual_clip c: Ye et al. (arXiv 1912.09729),
    the loss of a token with negative advantage never exceeds -c * A.
    """
    capped = ratio if delta is None else jnp.minimum(ratio, delta)
    loss = -jnp.minimum(capped * advantages, jnp.clip(ratio, 1.0 - low, 1.0 + high) * advantages)
    if dual_clip is None:
        return loss
    return jnp.where(advantages < 0, jnp.minimum(loss, -dual_clip * advantages), loss)


def cispo(ratio, log_probs, advantages, cap):
    """MiniMax-M1 (arXiv 2506.13585): REINFORCE weighted with a capped, constant ratio; no token loses its gradient."""
    return -jax.lax.stop_gradient(jnp.minimum(ratio, cap)) * advantages * log_probs


def sapo(ratio, advantages, temperature_positive, temperature_negative):
    """Soft clipping (arXiv 2511.20347): a sigmoid gate around ratio 1, with slope 1 there."""
    temperature = jnp.where(advantages > 0, temperature_positive, temperature_negative)
    return -(4.0 / temperature) * jax.nn.sigmoid(temperature * (ratio - 1.0)) * advantages
