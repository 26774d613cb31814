"""Which tokens and completions teach: the uncertain ones, and those that the policy has not moved away from."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rrft_jax.arrays import HostOrDevice
from rrft_jax.losses.masked import masked_sum, safe_divide


def top_entropy(
    entropy: Float[HostOrDevice, "B G C"], mask: Bool[HostOrDevice, "B G C"], share: float
) -> Bool[Array, "B G C"]:
    """The `share` of the mask's tokens with the highest entropy (Wang et al., arXiv 2506.01939; TRL's
    top_entropy_quantile): those at or above the quantile 1 - share over all tokens of the batch."""
    threshold = jnp.nanquantile(jnp.where(mask, entropy, jnp.nan), 1.0 - share)
    return mask & (entropy >= threshold)


def near_policy(
    log_probs: Float[HostOrDevice, "B G C"],
    old_log_probs: Float[HostOrDevice, "B G C"],
    advantages: Float[HostOrDevice, "B G #C"],
    mask: Bool[HostOrDevice, "B G C"],
    threshold: float,
) -> Bool[Array, "B G #C"]:
    """False where a completion with a negative advantage has left the policy: the mean over its tokens of
    old - new log-prob is above `threshold` (DeepSeek-V3.2, section 3.1; TRL's off_policy_mask_threshold)."""
    distance = safe_divide(masked_sum(old_log_probs - log_probs, mask, -1), mask.sum(-1))
    return (advantages >= 0) | (distance <= threshold)[..., None]
