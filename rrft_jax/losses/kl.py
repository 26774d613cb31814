"""Estimators of KL(policy || reference) on tokens of the policy (J. Schulman, "Approximating KL Divergence", 2020)."""

import jax.numpy as jnp
from jaxtyping import Float

from rrft_jax.arrays import HostOrDevice

Tokens = Float[HostOrDevice, "*tokens"]

# exp(20) is 5e8: past it only the float range is at stake, and infinity times an advantage of 0 would be NaN.
MAX_LOG = 20.0


def k1(log_probs: Tokens, ref_log_probs: Tokens) -> Tokens:
    """Unbiased, may be negative. Only a metric: as a loss its expected on-policy gradient is zero."""
    return log_probs - ref_log_probs


def k2(log_probs: Tokens, ref_log_probs: Tokens) -> Tokens:
    """Half the squared log-ratio: biased value, and on policy the expected gradient is that of the KL."""
    return 0.5 * jnp.square(log_probs - ref_log_probs)


def k3(log_probs: Tokens, ref_log_probs: Tokens) -> Tokens:
    """Unbiased and never negative: exp(d) - d - 1 with d = ref - policy; flat past d = MAX_LOG."""
    d = jnp.minimum(ref_log_probs - log_probs, MAX_LOG)
    return jnp.exp(d) - d - 1.0
