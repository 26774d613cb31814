"""Dense, norms and attention, shared by the vision tower and the decoder."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrft_jax.models import lora

_SMALLEST = jnp.finfo(jnp.float32).min
QUERIES = 256  # that attend at a time


def matmul_precision(dtype: Any) -> jax.lax.Precision | None:
    """All-float32 means float32 products too, also where the hardware's default is bfloat16 passes."""
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None


def parameter(module: nn.Module, name: str, init: Any, *shape: int) -> jax.Array:
    """`module.param(name, init, shape)`, called from inside the module; ValueError where another shape is stored.

    To compare shapes, flax traces `init` wherever a module is applied, a tenth of all tracing.
    """
    if not module.has_variable("params", name):
        return module.param(name, init, shape)
    value = module.get_variable("params", name)
    if value.shape != shape:
        raise ValueError(f"{type(module).__name__}: parameter {name} has shape {value.shape}, not {shape}")
    return value


def flat_dot(x: jax.Array, w: jax.Array) -> jax.Array:
    """x float[..., D] times w float[D, F].

    As one product of matrices: the gradient of W then contracts the rows of x and y where they lie. Contracting several
    axes, the compiler transposes a copy of the larger one first.
    """
    return _product(x.reshape(-1, x.shape[-1]), w).reshape(*x.shape[:-1], w.shape[-1])


def _plain_product(x: jax.Array, w: jax.Array) -> jax.Array:
    return jnp.dot(x, w, precision=matmul_precision(w.dtype))


def _forward(x, w):
    # Not by _product: rematerialisation policies see a product only where it is plain. A frozen w wants no x kept.
    kept = x.value if w.perturbed else None, w.value if x.perturbed else None
    return _plain_product(x.value, w.value), kept


def _backward(kept: tuple[jax.Array | None, jax.Array | None], dy: jax.Array):
    x, w = kept
    product = partial(jax.lax.dot_general, precision=matmul_precision(dy.dtype))

    def in_place(x, dy):
        return product(x, dy, (((0,), (0,)), ((), ())))

    def turned(x, dy):
        # Barriers: what makes x must not be computed in the order of the copy, nor the copy be folded into the product.
        x = jax.lax.optimization_barrier(jax.lax.optimization_barrier(x).T)
        return product(x, dy, (((1,), (0,)), ((), ())))

    dx = dw = None
    if w is not None:
        dx = product(dy, w, (((1,), (1,)), ((), ())))
    if x is not None:
        # The fast CPU kernels take no transposed left operand; the copy pays where it is small beside the product.
        cpu = turned if x.shape[1] <= 4 * dy.shape[1] else in_place
        dw = jax.lax.platform_dependent(x, dy, cpu=cpu, default=in_place)
    return dx, dw


_product = jax.custom_vjp(_plain_product)
_product.defvjp(_forward, _backward, symbolic_zeros=True)


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
        kernel = parameter(self, "kernel", init, x.shape[-1], self.features)
        x = x.astype(self.dtype)
        y = flat_dot(x, kernel.astype(self.dtype))
        if self.has_variable("params", "lora_a"):
            a, b, scale = (self.get_variable("params", name) for name in lora.LEAVES)
            low = flat_dot(flat_dot(x, a.astype(self.dtype)), b.astype(self.dtype))
            y = y + (scale * low).astype(self.dtype)  # scale is float32: rounded, it would not be the export's
        if self.use_bias:
            y = y + parameter(self, "bias", nn.initializers.zeros, self.features).astype(self.dtype)
        return y


class RMSNorm(nn.Module):
    """x / rms(x) in float32, then the learned scale."""

    eps: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = parameter(self, "scale", nn.initializers.ones, x.shape[-1])
        x = x.astype(jnp.float32)
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.eps)
        return x.astype(self.dtype) * scale.astype(self.dtype)


class LayerNorm(nn.Module):
    """Standard layer norm with scale and bias, statistics in float32."""

    eps: float = 1e-6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = parameter(self, "scale", nn.initializers.ones, x.shape[-1]).astype(jnp.float32)
        bias = parameter(self, "bias", nn.initializers.zeros, x.shape[-1]).astype(jnp.float32)
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

    q float[B, G, T, H, A]; k, v float[B, G, K, S, A]; mask bool, broadcastable to [B, G, T, S].
    prefix = (k, v float[B, K, P, A], mask bool[B, P]): one softmax over both sets of keys, as if concatenated, but the
    prompt's keys are never copied G times. H is a multiple of K (grouped queries). Returns float[B, G, T, H, A].
    Scores and softmax are float32; a query that may see no key returns a finite value.
    """
    B, G, T, H, A = q.shape
    K = k.shape[2]
    precision = matmul_precision(q.dtype)

    def scores(spec: str, keys: jax.Array) -> jax.Array:
        return jnp.einsum(spec, q, keys, precision=precision, preferred_element_type=jnp.float32)

    def values(spec: str, weights: jax.Array, v: jax.Array) -> jax.Array:
        return jnp.einsum(spec, weights.astype(v.dtype), v, precision=precision, preferred_element_type=jnp.float32)

    q = (q * A**-0.5).reshape(B, G, T, K, H // K, A)
    own = jnp.where(mask[:, :, None, :, None, :], scores("bgtkra,bgksa->bgktrs", k), _SMALLEST)
    top = jnp.max(own, axis=-1, keepdims=True)
    if prefix is not None:
        prefix_k, prefix_v, prefix_mask = prefix
        # One product for the whole group, batch axes first: other orders make a CPU copy, and refuse bfloat16.
        shared = jnp.swapaxes(scores("bgtkra,bkpa->bkgtrp", prefix_k), 1, 2)
        shared = jnp.where(prefix_mask[:, None, None, None, None, :], shared, _SMALLEST)
        top = jnp.maximum(top, jnp.max(shared, axis=-1, keepdims=True))
    top = jax.lax.stop_gradient(top)
    own = jnp.exp(own - top)
    total = jnp.sum(own, axis=-1)
    out = values("bgktrs,bgksa->bgktra", own, v)
    if prefix is not None:
        shared = jnp.exp(shared - top)
        total = total + jnp.sum(shared, axis=-1)
        out = out + jnp.swapaxes(values("bgktrp,bkpa->bkgtra", shared, prefix_v), 1, 2)
    out = (out / total[..., None]).astype(q.dtype)
    return jnp.transpose(out, (0, 1, 3, 2, 4, 5)).reshape(B, G, T, H, A)


def attend_in_parts(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array,
    prefix: tuple[jax.Array, jax.Array, jax.Array] | None = None,
    most: int = QUERIES,
) -> jax.Array:
    """`attend` for at most `most` queries at a time.

    Scores of a large picture or a long prompt are far larger than anything else: in parts they stay in a cache instead
    of going through memory (at 1,024 patches a third of the time), and the backward pass computes each part again.
    """
    B, G, T, H, A = q.shape
    count = -(-T // most)
    if count == 1:
        return attend(q, k, v, mask, prefix)
    each = -(-T // count)

    def parted(x: jax.Array) -> jax.Array:
        """Axis 2, the queries, in `count` parts, which come first."""
        x = jnp.pad(x, [(0, count * each - T if axis == 2 else 0) for axis in range(x.ndim)])
        return jnp.moveaxis(x.reshape(*x.shape[:2], count, each, *x.shape[3:]), 2, 0)

    mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
    same = mask.shape[2] == 1  # for all queries
    part = jax.checkpoint(lambda x: attend(x[0], k, v, mask if same else x[1], prefix))
    out = jax.lax.map(part, (parted(q), None if same else parted(mask)))
    return jnp.moveaxis(out, 0, 2).reshape(B, G, count * each, H, A)[:, :, :T]
