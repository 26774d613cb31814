"""Dense, norms and attention, shared by the vision tower and the decoder."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrft_jax.models import lora

_SMALLEST = jnp.finfo(jnp.float32).min


def matmul_precision(dtype: Any) -> jax.lax.Precision | None:
    """All-float32 means float32 products too, also where the hardware's default is bfloat16 passes."""
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None


class Dense(nn.Module):
    """y = x W + b, W float[in, out]; parameters keep their dtype, the product runs in `dtype`.

    Where an adapter lies beside W (`models/lora.py`), scale (x A) B is added: the wide product is not done twice.
    """

    features: int
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        x = x.astype(self.dtype)
        dot = partial(jnp.dot, precision=matmul_precision(self.dtype))
        y = dot(x, kernel.astype(self.dtype))
        if self.has_variable("params", "lora_a"):
            a, b, scale = (self.get_variable("params", name).astype(self.dtype) for name in lora.LEAVES)
            y = y + scale * dot(dot(x, a), b)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return y


class RMSNorm(nn.Module):
    """x / rms(x) in float32, then the learned scale."""

    eps: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        x = x.astype(jnp.float32)
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.eps)
        return x.astype(self.dtype) * scale.astype(self.dtype)


class LayerNorm(nn.Module):
    """Standard layer norm with scale and bias, statistics in float32."""

    eps: float = 1e-6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],)).astype(jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],)).astype(jnp.float32)
        x = x.astype(jnp.float32)
        x = x - jnp.mean(x, axis=-1, keepdims=True)
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.eps)
        return (x * scale + bias).astype(self.dtype)


def attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array,
    prefix: tuple[jax.Array, jax.Array, jax.Array] | None = None,
) -> jax.Array:
    """Softmax attention of every group member over its own keys and, unrepeated, its prompt's.

    q float[B, G, T, H, A]; k, v float[B, G, S, K, A]; mask bool, broadcastable to [B, G, T, S].
    prefix = (k, v float[B, P, K, A], mask bool[B, P]): one softmax over both sets of keys, as if concatenated, but the
    prompt's keys are never copied G times. H is a multiple of K (grouped queries). Returns float[B, G, T, H, A].
    Scores and softmax are float32; a query that may see no key returns a finite value.
    """
    B, G, T, H, A = q.shape
    K = k.shape[-2]
    precision = matmul_precision(q.dtype)

    def scores(spec: str, keys: jax.Array, keep: jax.Array) -> jax.Array:
        s = jnp.einsum(spec, q, keys, precision=precision, preferred_element_type=jnp.float32)
        return jnp.where(keep, s, _SMALLEST)

    def values(spec: str, weights: jax.Array, v: jax.Array) -> jax.Array:
        return jnp.einsum(spec, weights.astype(v.dtype), v, precision=precision, preferred_element_type=jnp.float32)

    q = (q * A**-0.5).reshape(B, G, T, K, H // K, A)
    own = scores("bgtkra,bgska->bgktrs", k, mask[:, :, None, :, None, :])
    top = jnp.max(own, axis=-1, keepdims=True)
    if prefix is not None:
        prefix_k, prefix_v, prefix_mask = prefix
        shared = scores("bgtkra,bpka->bgktrp", prefix_k, prefix_mask[:, None, None, None, None, :])
        top = jnp.maximum(top, jnp.max(shared, axis=-1, keepdims=True))
    top = jax.lax.stop_gradient(top)
    own = jnp.exp(own - top)
    total = jnp.sum(own, axis=-1)
    out = values("bgktrs,bgska->bgktra", own, v)
    if prefix is not None:
        shared = jnp.exp(shared - top)
        total = total + jnp.sum(shared, axis=-1)
        out = out + values("bgktrp,bpka->bgktra", shared, prefix_v)
    out = (out / total[..., None]).astype(q.dtype)
    return jnp.transpose(out, (0, 1, 3, 2, 4, 5)).reshape(B, G, T, H, A)
