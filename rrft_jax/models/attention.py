"""Attention of many queries at once by a kernel written for the hardware, instead of `dense_attention.attend`.

A kernel gets one call a layer, on the prompt's keys and all members' keys side by side, with a static mask (every
member sees the whole prompt and its own earlier tokens) and segment ids that keep real tokens and padding apart. Two
calls merged by their log-sum-exp would be smaller, but neither kernel below gives that a right gradient.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.dense_attention import PromptKeys
from rrft_jax.models.group_mask import GroupMask
from rrft_jax.parallel.mesh import spec_for

CHOICES = ("auto", "xla", "splash", "cudnn")
# What a model can be built with. splash_interpreted is splash on a machine without a TPU: slow, for tests.
BACKENDS = ("xla", "splash", "cudnn", "splash_interpreted")
_PLATFORMS = {"splash": ("tpu",), "cudnn": ("gpu", "cuda")}
_TILE = 128  # lanes of a TPU: splash wants head width and lengths in multiples of it
_BLOCKS = (512, 256, _TILE)  # queries and keys of one step of the kernel, as many as divide the lengths


def choose(name: str, platform: str, dtype: str) -> str:
    """The backend that `config.model.attention=name` means on a platform ("cpu", "tpu", "gpu"), products in `dtype`.

    auto: splash on a TPU with bfloat16 products, else xla. Float32 products are asked for where results are compared,
    and splash takes the hardware's default precision for them. cudnn is never picked: its test has run on no GPU yet.
    Raises ValueError where the choice is unknown or cannot run there.
    """
    check_name(name)
    if name == "auto":
        return "splash" if platform == "tpu" and dtype == "bfloat16" else "xla"
    if platform not in _PLATFORMS.get(name, (platform,)):
        raise ValueError(
            f"config.model.attention={name} does not run on {platform}: choose auto or xla there ({name} is for "
            f"{_PLATFORMS[name][0]}; the choices are {', '.join(CHOICES)})"
        )
    if name == "cudnn" and dtype != "bfloat16":
        raise ValueError(
            f"config.model.attention=cudnn has no {dtype} products: give config.model.dtype=bfloat16, or choose one of "
            "auto, xla"
        )
    return name


def check_name(name: str) -> None:
    """Raises ValueError where there is no such choice."""
    if name not in CHOICES:
        raise ValueError(f"config.model.attention={name!r}: choose one of {', '.join(CHOICES)}")


def attend_members(
    backend: str,
    q: Float[HostOrDevice, "B G T H A"],
    k: Float[HostOrDevice, "B G K T A"],
    v: Float[HostOrDevice, "B G K T A"],
    valid: Bool[HostOrDevice, "B G T"],
    prefix: PromptKeys | None = None,
) -> Float[Array, "B G T H A"]:
    """What `dense_attention.attend` computes for tokens that see each other causally, in one call of a kernel.

    valid: which of the tokens are real. Exact for real tokens; padding sees padding, and its values are finite and mean
    nothing.
    """
    B, G, T, H, A = q.shape
    q, k, v, valid = (_padded(x, axis) for x, axis in ((q, 2), (k, 3), (v, 3), (valid, 2)))
    length = valid.shape[2]
    own = valid.reshape(B, -1)
    k, v = (jnp.swapaxes(x, 1, 2).reshape(B, x.shape[2], G * length, A) for x in (k, v))
    seen, mask = own, GroupMask(0, G, length)
    if prefix is not None:
        # Whole blocks of the members' keys then follow whole blocks of the prompt's.
        prefix_k, prefix_v, prefix_mask = (
            _padded(x, axis, _block(length)) for x, axis in zip(prefix, (2, 2, 1), strict=True)
        )
        k, v = jnp.concatenate([prefix_k, k], axis=2), jnp.concatenate([prefix_v, v], axis=2)
        seen, mask = jnp.concatenate([prefix_mask, own], axis=1), GroupMask(prefix_mask.shape[1], G, length)
    out = _sharded(backend, q.reshape(B, G * length, H, A), k, v, own, seen, mask, ("heads", "kv_heads"))
    return out.reshape(B, G, length, H, A)[:, :, :T]


def attend_whole(
    backend: str,
    q: Float[HostOrDevice, "S n H A"],
    k: Float[HostOrDevice, "S H n A"],
    v: Float[HostOrDevice, "S H n A"],
    valid: Bool[HostOrDevice, "S n"],
) -> Float[Array, "S n H A"]:
    """Every query sees every real key: the patches of a picture. Padding gets finite values without meaning."""
    n = q.shape[1]
    q, k, v, valid = (_padded(x, axis) for x, axis in ((q, 1), (k, 2), (v, 2), (valid, 1)))
    mask = GroupMask(0, 1, valid.shape[1], causal=False)
    return _sharded(backend, q, k, v, valid, valid, mask, ("heads", "heads"))[:, :n]


def _sharded(
    backend: str,
    q: Float[HostOrDevice, "B N H A"],
    k: Float[HostOrDevice, "B K S A"],
    v: Float[HostOrDevice, "B K S A"],
    own: Bool[HostOrDevice, "B N"],
    seen: Bool[HostOrDevice, "B S"],
    mask: GroupMask,
    heads: tuple[str, str],
) -> Float[Array, "B N H A"]:
    """Calls the kernel on each device's rows and heads: the compiler cannot split a kernel by itself.

    own, seen: which queries and keys are real.
    """
    call = partial(_KERNELS[backend], mask=mask)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return call(q, k, v, own, seen)
    spec = lambda x, *names: spec_for(x.shape, names, dict(mesh.shape))  # noqa: E731
    queries, keys = spec(q, "batch", None, heads[0], None), spec(k, "batch", heads[1], None, None)
    if queries[2] != keys[1]:  # one of the two does not divide: query and key heads would part
        queries, keys = PartitionSpec(queries[0]), PartitionSpec(keys[0])
    rows = PartitionSpec(queries[0])
    # The kernels do not say over which axes their results vary, which is what is not checked.
    call = jax.shard_map(call, in_specs=(queries, keys, keys, rows, rows), out_specs=queries, check_vma=False)
    return call(q, k, v, own, seen)


def _splash(
    q: HostOrDevice,
    k: HostOrDevice,
    v: HostOrDevice,
    own: HostOrDevice,
    seen: HostOrDevice,
    mask: GroupMask,
    interpret: bool = False,
) -> jax.Array:
    """The head width is filled up to a multiple of 128 with zeros, which change no score and are cut off the result."""
    from rrft_jax.models.splash import splash  # slow to load, and for TPUs alone

    A = q.shape[-1]
    q, k, v = (_padded(x, 3) for x in (jnp.swapaxes(q * A**-0.5, 1, 2), k, v))
    return jnp.swapaxes(splash(q, k, v, own, seen, mask, _block(mask.length), interpret), 1, 2)[..., :A]


def _cudnn(
    q: HostOrDevice, k: HostOrDevice, v: HostOrDevice, own: HostOrDevice, seen: HostOrDevice, mask: GroupMask
) -> jax.Array:
    """The mask goes in as a bias [B, 1, N, S]: flash attention of cuDNN has no other way to say which member sees what,
    so nothing is skipped."""
    allowed = mask[:, :] & (own[:, :, None] == seen[:, None])
    k, v = jnp.swapaxes(k, 1, 2), jnp.swapaxes(v, 1, 2)
    return jax.nn.dot_product_attention(q, k, v, mask=allowed[:, None], implementation="cudnn")


_KERNELS = {"splash": _splash, "splash_interpreted": partial(_splash, interpret=True), "cudnn": _cudnn}


def _padded(x: HostOrDevice, axis: int, multiple: int = _TILE) -> jax.Array:
    """x, with zeros (False: padding) at the end of the axis up to a multiple."""
    missing = -x.shape[axis] % multiple
    return jnp.pad(x, [(0, missing if i == axis % x.ndim else 0) for i in range(x.ndim)]) if missing else x


def _block(length: int) -> int:
    return next(b for b in _BLOCKS if length % b == 0)
