"""Dense layers and norms, shared by the vision tower and the decoder."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models import lora
from rrft_jax.models.quantized import dequantized


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


def applied(module: nn.Module, params: dict, *inputs: Any, method: str | None = None) -> Any:
    """What a module with these parameters gives for the inputs."""
    return module.apply({"params": params}, *inputs, method=method)


def init_module(module: nn.Module, key: Key[Array, ""], *shapes: tuple[int, ...]) -> dict:
    """Random parameters of a module that is called on arrays of these shapes."""
    return module.init(key, *(jnp.zeros(shape) for shape in shapes))["params"]


def init_stack(module: nn.Module, count: int, key: Key[Array, ""], *shapes: tuple[int, ...]) -> dict:
    """The same of `count` equal layers, stacked."""
    return jax.vmap(lambda k: init_module(module, k, *shapes))(jax.random.split(key, count))


def flat_dot(x: Float[HostOrDevice, "*rows D"], w: Float[HostOrDevice, "D F"]) -> Float[Array, "*rows F"]:
    """x times w.

    As one product of matrices: the gradient of W then contracts the rows of x and y where they lie. Contracting several
    axes, the compiler transposes a copy of the larger one first.
    """
    return _product(x.reshape(-1, x.shape[-1]), w).reshape(*x.shape[:-1], w.shape[-1])


def _plain_product(x: HostOrDevice, w: HostOrDevice) -> jax.Array:
    return jnp.dot(x, w, precision=matmul_precision(w.dtype))


def _forward(x: Any, w: Any) -> tuple[jax.Array, tuple[HostOrDevice | None, HostOrDevice | None]]:
    # Not by _product: rematerialisation policies see a product only where it is plain. A frozen w wants no x kept.
    kept = x.value if w.perturbed else None, w.value if x.perturbed else None
    return _plain_product(x.value, w.value), kept


def _backward(
    kept: tuple[HostOrDevice | None, HostOrDevice | None], dy: HostOrDevice
) -> tuple[jax.Array | None, jax.Array | None]:
    x, w = kept
    product = partial(jax.lax.dot_general, precision=matmul_precision(dy.dtype))

    def in_place(x: Float[HostOrDevice, "N D"], dy: Float[HostOrDevice, "N F"]) -> Float[Array, "D F"]:
        return product(x, dy, (((0,), (0,)), ((), ())))

    def turned(x: Float[HostOrDevice, "N D"], dy: Float[HostOrDevice, "N F"]) -> Float[Array, "D F"]:
        # Barriers: what makes x must not be computed in the order of the copy, nor the copy be folded into the product.
        x = jax.lax.optimization_barrier(jax.lax.optimization_barrier(x).T)
        return product(x, dy, (((1,), (0,)), ((), ())))

    def narrower_turned(x: Float[HostOrDevice, "N D"], dy: Float[HostOrDevice, "N F"]) -> Float[Array, "D F"]:
        # The fast CPU kernels take no transposed left operand, so the smaller operand is copied; if that is dy, the
        # result is the gradient transposed, and turned back by a second copy.
        (N, D), F = x.shape, dy.shape[1]
        return turned(x, dy) if N * D <= N * F + D * F else jax.lax.optimization_barrier(turned(dy, x)).T

    dx = dw = None
    if w is not None:
        dx = product(dy, w, (((1,), (1,)), ((), ())))
    if x is not None:
        dw = jax.lax.platform_dependent(x, dy, cpu=narrower_turned, default=in_place)
    return dx, dw


_product = jax.custom_vjp(_plain_product)
_product.defvjp(_forward, _backward, symbolic_zeros=True)


@jax.custom_vjp
def _quantized_product(x: HostOrDevice, codes: HostOrDevice, scale: HostOrDevice) -> jax.Array:
    """x times a kernel in codes. It is put together for one product at a time, in the backward pass again: kept for it,
    the kernels of all layers would be a model in full precision."""
    return _plain_product(x, dequantized(codes, scale).astype(x.dtype))


def _quantized_forward(x: HostOrDevice, codes: HostOrDevice, scale: HostOrDevice) -> tuple[jax.Array, tuple]:
    return _plain_product(x, dequantized(codes, scale).astype(x.dtype)), (codes, scale)


def _quantized_backward(kept: tuple, dy: HostOrDevice) -> tuple[jax.Array, None, None]:
    # Where a layer is computed again, its forward pass stands next to this: without a barrier the compiler sees the
    # same kernel twice, makes it once, and keeps those of the whole layer in between.
    kept, dy = jax.lax.optimization_barrier((kept, dy))
    w = dequantized(*kept).astype(dy.dtype)
    return jax.lax.dot_general(dy, w, (((1,), (1,)), ((), ())), precision=matmul_precision(dy.dtype)), None, None


_quantized_product.defvjp(_quantized_forward, _quantized_backward)


class Dense(nn.Module):
    """y = x W + b, W float[in, out]; parameters keep their dtype, the product runs in `dtype`.

    A frozen W may be codes with scales (`models/quantized.py`). With an adapter next to W (`models/lora.py`),
    scale (x A) B is added, so the wide product is not computed twice.
    """

    features: int
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[HostOrDevice, "*rows D"]) -> Float[Array, "*rows F"]:
        init = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
        kernel = parameter(self, "kernel", init, x.shape[-1], self.features)
        x = x.astype(self.dtype)
        if self.has_variable("params", "kernel_scale"):
            flat = x.reshape(-1, x.shape[-1])
            y = _quantized_product(flat, kernel, self.get_variable("params", "kernel_scale"))
            y = y.reshape(*x.shape[:-1], self.features)
        else:
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
    def __call__(self, x: Float[HostOrDevice, "*rows D"]) -> Float[Array, "*rows D"]:
        scale = parameter(self, "scale", nn.initializers.ones, x.shape[-1])
        x = x.astype(jnp.float32)
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.eps)
        return x.astype(self.dtype) * scale.astype(self.dtype)


class LayerNorm(nn.Module):
    """Standard layer norm with scale and bias, statistics in float32."""

    eps: float = 1e-6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[HostOrDevice, "*rows D"]) -> Float[Array, "*rows D"]:
        scale = parameter(self, "scale", nn.initializers.ones, x.shape[-1]).astype(jnp.float32)
        bias = parameter(self, "bias", nn.initializers.zeros, x.shape[-1]).astype(jnp.float32)
        x = x.astype(jnp.float32)
        x = x - jnp.mean(x, axis=-1, keepdims=True)
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.eps)
        return (x * scale + bias).astype(self.dtype)
