"""From hidden states to log-probabilities, a chunk of the completion at a time.

Float32 logits of a whole sequence never exist: the chunk's logits live inside one rematerialised scan step.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.layers import matmul_precision
from rrft_jax.parallel.mesh import constrain, divides

_SMALLEST = -1e30  # finite, so that 0 * masked logit is 0 in the entropy


def logits(
    hidden: Float[HostOrDevice, "*rows D"],
    table: Float[HostOrDevice, "V D"],
    allowed: Bool[HostOrDevice, " V"] | None,
    rows: str = "batch",
    vocabulary: str = "vocab",
) -> Float[Array, "*rows V"]:
    """Products of hidden states and the LM head; forbidden tokens get -1e30.

    allowed: None for the full softmax. rows, vocabulary: logical names of the first and the last axis.
    """
    z = jnp.einsum(
        "nd,vd->nv",  # of matrices, as in layers.flat_dot
        hidden.reshape(-1, hidden.shape[-1]),
        table.astype(hidden.dtype),
        precision=matmul_precision(hidden.dtype),
        preferred_element_type=jnp.float32,
    ).reshape(*hidden.shape[:-1], -1)
    z = constrain(z, rows, *[None] * (z.ndim - 2), vocabulary)
    return z if allowed is None else jnp.where(allowed, z, _SMALLEST)


def target_log_probs(
    z: Float[HostOrDevice, "*rows V"], targets: Int[HostOrDevice, "*rows"]
) -> tuple[Float[Array, "*rows"], Float[Array, "*rows"]]:
    """log p(target) and entropy of the softmax over logits z.

    The target's logit is taken by mask and sum: a gather would bring the sharded vocabulary together.
    """
    z = z - jax.lax.stop_gradient(jnp.max(z, axis=-1, keepdims=True))
    e = jnp.exp(z)
    total = jnp.sum(e, axis=-1)
    log_total = jnp.log(total)
    hit = jnp.arange(z.shape[-1]) == targets[..., None]
    log_prob = jnp.sum(jnp.where(hit, z, 0.0), axis=-1) - log_total
    return log_prob, log_total - jnp.sum(e * z, axis=-1) / total


def token_log_probs(
    hidden: Float[HostOrDevice, "B G C D"],
    table: Float[HostOrDevice, "V D"],
    targets: Int[HostOrDevice, "B G C"],
    allowed: Bool[HostOrDevice, " V"] | None = None,
    temperature: float = 1.0,
    chunk: int = 32,
) -> tuple[Float[Array, "B G C"], Float[Array, "B G C"]]:
    """Log-probabilities and entropies of targets under softmax(logits / temperature).

    hidden predicts the target of the same index. C is walked in chunks of `chunk` tokens; each
    chunk's logits are recomputed in the backward pass.

    The vocabulary is split over tensor and fsdp, and a chunk's hidden states come together over fsdp instead: gathering
    the table, and adding up its gradient, would cost V x D numbers for every chunk.
    """
    B, G, C, D = hidden.shape
    names = ("head_batch", "head_vocab") if divides(table.shape[0], "head_vocab") else ("batch", "vocab")
    table = constrain(table, names[1], None)
    chunk = min(chunk, C)
    pad = -C % chunk
    hidden = jnp.pad(hidden, ((0, 0), (0, 0), (0, pad), (0, 0)))
    targets = jnp.pad(targets, ((0, 0), (0, 0), (0, pad)))
    split = lambda x: jnp.moveaxis(x.reshape(B, G, -1, chunk, *x.shape[3:]), 2, 0)  # noqa: E731

    @jax.checkpoint
    def one(
        h: Float[HostOrDevice, "B G c D"], t: Int[HostOrDevice, "B G c"]
    ) -> tuple[Float[Array, "B G c"], Float[Array, "B G c"]]:
        h = constrain(constrain(h, "batch", None, None, None), names[0], None, None, None)
        return target_log_probs(logits(h, table, allowed, *names) / temperature, t)

    _, (log_probs, entropy) = jax.lax.scan(lambda _, ht: (None, one(*ht)), None, (split(hidden), split(targets)))
    join = lambda y: constrain(jnp.moveaxis(y, 0, 2).reshape(B, G, C + pad)[..., :C], "batch", None, None)  # noqa: E731
    return join(log_probs), join(entropy)
