"""Kernels that are not trained in 8 or 4 bits: codes next to their scales, made on load and never put back together.

Next to `kernel`, here the codes int8[..., in, out] or uint4[..., in, out], lies `kernel_scale`
float32[..., in / block, out]. int8: one scale a column, the largest absolute value on the end of the range. nf4: the 16
values of 4-bit NormalFloat (QLoRA, arXiv 2305.14314, section 3 and appendix E), one scale for each block of up to 64
numbers of a column. Rounding and values are those of the library qwix.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models import lora

SCHEMES = ("int8", "nf4")
UNQUANTIZED = "bfloat16"  # what is not a kernel keeps this dtype: embeddings, norms, biases
SCALE = "_scale"  # behind the path of the kernel
BLOCK = 64
# Values of the codes 0 to 15 (QLoRA, appendix E), which are float32 numbers.
NORMAL_FLOAT = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
_CODES = {"int8": jnp.dtype("int8"), "nf4": jnp.dtype("uint4")}


def dtype_of(path: str, frozen_dtype: str) -> Any:
    """What a parameter that is not trained is kept in: a dtype, or for kernels the name of a scheme."""
    if frozen_dtype not in SCHEMES:
        return jnp.dtype(frozen_dtype)
    kernel = path.endswith("/kernel") and path != f"{lora.EXCLUDED}/kernel"
    return frozen_dtype if kernel else jnp.dtype(UNQUANTIZED)


def shapes(path: str, shape: tuple[int, ...], kept: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """The leaves, by path, of a parameter of this shape that is kept in a dtype or scheme."""
    if not is_scheme(kept):
        return {path: jax.ShapeDtypeStruct(shape, kept)}
    *stack, rows, columns = shape
    scales = (*stack, rows // _block(rows, kept), columns)
    return {
        path: jax.ShapeDtypeStruct(shape, _CODES[kept]),
        f"{path}{SCALE}": jax.ShapeDtypeStruct(scales, np.float32),
    }


def quantize(kernel: Float[np.ndarray, "in out"], scheme: str) -> tuple[np.ndarray, np.ndarray]:
    """Codes and scales of one layer's kernel, computed on the host."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        found = _quantizer(scheme, _block(kernel.shape[0], scheme))(kernel.astype(np.float32))
    return np.asarray(found[0]), np.asarray(found[1])


@functools.cache
def _quantizer(scheme: str, block: int) -> Callable[[np.ndarray], tuple[jax.Array, jax.Array]]:
    qwix = _library()

    def run(x: Float[HostOrDevice, "in out"]) -> tuple[jax.Array, jax.Array]:
        kind = jnp.int8 if scheme == "int8" else scheme
        found = qwix.quantize(x, kind, channelwise_axes=(1,), tiled_axes={0: block})
        return found.qvalue, found.scale

    return jax.jit(run)


def dequantized(
    codes: Shaped[HostOrDevice, "in out"], scale: Float[HostOrDevice, "blocks out"]
) -> Float[HostOrDevice, "in out"]:
    """The kernel that codes and scales stand for, in float32.

    Element by element, so that the compiler makes it inside the product that reads it and splits it as the codes are.
    """
    values = _looked_up(codes) if codes.dtype == _CODES["nf4"] else codes.astype(jnp.float32)
    blocks = values.reshape(scale.shape[0], -1, scale.shape[1])
    return (blocks * scale[:, None]).reshape(codes.shape)


def _looked_up(codes: Shaped[HostOrDevice, "in out"]) -> Float[Array, "in out"]:
    """The value of each 4-bit code, chosen bit by bit: an accelerator has no fast way to read a table.

    The first bit by a product: each value is its neighbour below plus their difference, without rounding. Chosen by
    `where`, 16 kernels of one constant each would not depend on the layer, and JAX makes what does not depend on it
    once, in front of the scan over layers, to keep for the backward pass.
    """
    codes = codes.astype(jnp.int32)
    odd, values = (codes & 1).astype(jnp.float32), list(map(np.float32, NORMAL_FLOAT))
    values = [low + odd * (high - low) for low, high in zip(values[::2], values[1::2], strict=True)]
    for bit in range(1, 4):
        high = (codes >> bit) & 1 == 1
        values = [jnp.where(high, b, a) for a, b in zip(values[::2], values[1::2], strict=True)]
    return values[0]


def is_scheme(kept: Any) -> bool:
    """Whether what `dtype_of` gave is a scheme: a dtype compared with a name would read the name as another dtype."""
    return isinstance(kept, str) and kept in SCHEMES


def is_scale(path: str) -> bool:
    return path.endswith(f"/kernel{SCALE}")


def _block(rows: int, scheme: str) -> int:
    """How many numbers of a column share a scale: with nf4 as many as BLOCK at most divide it."""
    return rows if scheme == "int8" else max(n for n in range(1, BLOCK + 1) if rows % n == 0)


def _library() -> Any:
    try:
        import qwix  # slow to load, and for quantised bases alone
    except ModuleNotFoundError:
        raise ValueError(
            "config.model.frozen_dtype=int8 or nf4 needs the package qwix: pip install -e '.[quantized]'"
        ) from None
    return qwix
