"""Probability ratios and the policy losses on them, before any averaging.

A surrogate is a pure function of arrays, surrogate(ratio, log_probs, advantages, *, options) -> loss. `ratio` is
float32[B, G, C], or [B, G, 1] where one ratio serves the whole sequence; `log_probs` float32[B, G, C], with gradient;
`advantages` broadcast to [B, G, C], as the loss (to be minimised) does. Masked positions hold finite values that the
aggregation leaves out. Of the options, those named like a field of `GRPOLoss` get its value, others keep their
defaults. A surrogate from outside the package, `config.loss.surrogate=my_loss.py:mine`, is such a function too.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rrft_jax.arrays import HostOrDevice
from rrft_jax.losses.kl import MAX_LOG
from rrft_jax.losses.masked import masked_sum

Ratio = Float[Array, "B G #C"]
LogProbs = Float[Array, "B G C"]
Advantages = Float[Array, "B G #C"]
Loss = Float[Array, "B G #C"]


def token_ratio(log_ratio: Float[HostOrDevice, "*tokens"]) -> Float[Array, "*tokens"]:
    """exp(log_ratio), one a token; flat past MAX_LOG."""
    return jnp.exp(jnp.minimum(log_ratio, MAX_LOG))


def sequence_ratio(log_ratio: LogProbs, mask: Bool[HostOrDevice, "B G C"]) -> Float[Array, "B G 1"]:
    """GSPO (arXiv 2507.18071): the geometric mean of the token ratios of a sequence."""
    tokens = jnp.maximum(mask.sum(-1, keepdims=True), 1)
    return token_ratio(masked_sum(log_ratio, mask, -1)[..., None] / tokens)


def on_policy(ratio: Ratio, log_probs: LogProbs, advantages: Advantages) -> Loss:
    """Reason-RFT's form: the ratio is 1 in value and carries the policy gradient."""
    return -ratio * advantages


def clipped(
    ratio: Ratio,
    log_probs: LogProbs,
    advantages: Advantages,
    *,
    epsilon_low: float,
    epsilon_high: float,
    delta: float | None = None,
    dual_clip: float | None = None,
) -> Loss:
    """PPO's clip to [1 - epsilon_low, 1 + epsilon_high].

    delta: TRL's two-sided clip, min(ratio, delta) in the unclipped branch. dual_clip c: Ye et al. (arXiv 1912.09729),
    the loss of a token with negative advantage never exceeds -c * A.
    """
    capped = ratio if delta is None else jnp.minimum(ratio, delta)
    bounded = jnp.clip(ratio, 1.0 - epsilon_low, 1.0 + epsilon_high)
    loss = -jnp.minimum(capped * advantages, bounded * advantages)
    if dual_clip is None:
        return loss
    return jnp.where(advantages < 0, jnp.minimum(loss, -dual_clip * advantages), loss)


def cispo(ratio: Ratio, log_probs: LogProbs, advantages: Advantages, *, cispo_cap: float = 5.0) -> Loss:
    """MiniMax-M1 (arXiv 2506.13585): REINFORCE weighted with a capped, constant ratio; no token loses its gradient."""
    return -jax.lax.stop_gradient(jnp.minimum(ratio, cispo_cap)) * advantages * log_probs


def sapo(
    ratio: Ratio,
    log_probs: LogProbs,
    advantages: Advantages,
    *,
    sapo_temperature_positive: float,
    sapo_temperature_negative: float,
) -> Loss:
    """Soft clipping (arXiv 2511.20347): a sigmoid gate around ratio 1, with slope 1 there."""
    temperature = jnp.where(advantages > 0, sapo_temperature_positive, sapo_temperature_negative)
    return -(4.0 / temperature) * jax.nn.sigmoid(temperature * (ratio - 1.0)) * advantages


SURROGATES: Mapping[str, Callable] = MappingProxyType(
    {"on_policy": on_policy, "clipped": clipped, "cispo": cispo, "sapo": sapo}
)
