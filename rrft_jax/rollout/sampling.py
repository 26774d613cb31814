"""From logits to a token: temperature, top-k, top-p, and the distribution that the token was drawn from."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.head import target_log_probs

_FORBIDDEN = -1e30


@dataclass(frozen=True)
class Sampling:
    """temperature 0 is greedy; top_k 0 and top_p 1 are off. Truncation follows temperature, top-k before top-p."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature {self.temperature} must be >= 0 and finite (0 is greedy)")
        if self.top_k < 0:
            raise ValueError(f"top_k {self.top_k} must be >= 0 (0 is off)")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p {self.top_p} must lie in (0, 1] (1 is off)")


def truncate(z: Float[HostOrDevice, "*rows V"], sampling: Sampling) -> Float[Array, "*rows V"]:
    """Logits / temperature, with the tokens outside top-k and the nucleus forbidden.

    The nucleus is the smallest set of most likely tokens whose mass reaches top_p (Holtzman et al., arXiv 1904.09751).
    Tokens that tie with the last one kept are kept.
    """
    z = z / sampling.temperature
    V = z.shape[-1]
    if sampling.top_k and sampling.top_k < V:
        floor = jax.lax.top_k(z, sampling.top_k)[0][..., -1:]
        z = jnp.where(z < floor, _FORBIDDEN, z)
    if sampling.top_p < 1:
        ordered = jnp.sort(z, axis=-1, descending=True)
        p = jax.nn.softmax(ordered, axis=-1)
        inside = jnp.cumsum(p, axis=-1) - p < sampling.top_p
        floor = jnp.min(jnp.where(inside, ordered, jnp.inf), axis=-1, keepdims=True)
        z = jnp.where(z < floor, _FORBIDDEN, z)
    return z


def draw(
    z: Float[HostOrDevice, "B G V"], keys: Key[Array, "B G"], sampling: Sampling
) -> tuple[Int[Array, "B G"], Float[Array, "B G"]]:
    """One token from logits, and its log-prob under the distribution that it is drawn from.

    Greedy decoding is a point mass: log-prob 0. Otherwise Gumbel-max, so the draw is exact for any vocabulary.
    """
    if sampling.temperature == 0:
        token = _first_largest(z)
        return token, jnp.zeros(token.shape, jnp.float32)
    z = truncate(z, sampling)
    gumbel = jax.vmap(jax.vmap(lambda key: jax.random.gumbel(key, z.shape[-1:])))(keys)
    token = _first_largest(z + gumbel)
    return token, target_log_probs(z, token)[0]


def _first_largest(z: Float[HostOrDevice, "*rows V"]) -> Int[Array, "*rows"]:
    """argmax over the last axis. NaN gives the last index.

    As two plain reductions: XLA's CPU code for an argmax is scalar, and so is all that is fused into it, the logarithms
    of the Gumbel noise above all.
    """
    numbers = jnp.arange(z.shape[-1], dtype=jnp.int32)
    largest = jnp.max(z, axis=-1, keepdims=True)
    return jnp.min(jnp.where(z == largest, numbers, z.shape[-1] - 1), axis=-1)
