"""The device mesh and the one table that says which mesh axes a logical axis is split over."""

import math
from collections.abc import Sequence

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXES = ("data", "fsdp", "tensor")
PRESETS = ("data", "fsdp", "fsdp+tensor")
DEFAULTS = ((-1, 1, 1), (1, -1, 1))  # sizes that nobody asked for, so that a preset may take their place

# Logical axis -> mesh axes, of activations and parameters alike.
RULES: dict[str, tuple[str, ...]] = {
    "batch": ("data", "fsdp"),
    "embed": ("fsdp",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "mlp": ("tensor",),
    "vocab": ("tensor",),
    "head_batch": ("data",),  # of the logits, whose vocabulary fsdp helps to split
    "head_vocab": ("tensor", "fsdp"),
    "layers": (),
}


def make_mesh(
    data: int = -1,
    fsdp: int = 1,
    tensor: int = 1,
    devices: Sequence[jax.Device] | None = None,
    preset: str = "",
    kv_heads: int | None = None,
) -> Mesh:
    """A mesh with axes ('data', 'fsdp', 'tensor'); the one axis that is -1 takes whatever devices are left.

    preset: a name in PRESETS instead of sizes. kv_heads: K of the model, which `tensor` must divide.
    Raises ValueError when the product of the axes is not the number of devices, or `tensor` does not divide K.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = {"data": data, "fsdp": fsdp, "tensor": tensor}
    if preset:
        if tuple(sizes.values()) not in DEFAULTS:
            raise ValueError(f"config.mesh.preset={preset} and sizes of axes are both given: leave one of them out")
        sizes = preset_sizes(preset, len(devices), kv_heads)
    if sum(size == -1 for size in sizes.values()) > 1:
        raise ValueError(f"config.mesh {_named(sizes)}: only one axis can be -1, the one that takes the devices left")
    rest = math.prod(size for size in sizes.values() if size != -1)
    if -1 in sizes.values() and rest > 0:
        sizes = {axis: len(devices) // rest if size == -1 else size for axis, size in sizes.items()}
    if math.prod(sizes.values()) != len(devices) or min(sizes.values()) < 1:
        needed = math.prod(max(size, 1) for size in sizes.values())
        raise ValueError(
            f"mesh {_named(sizes)} needs {needed} devices, but there are {len(devices)}: change config.mesh so that "
            "the product fits (data=-1 fills up)"
        )
    if kv_heads is not None and kv_heads % sizes["tensor"]:
        raise ValueError(
            f"config.mesh.tensor={sizes['tensor']} must divide the {kv_heads} key-value heads of the model: give "
            f"{' or '.join(str(k) for k in range(1, kv_heads + 1) if kv_heads % k == 0)}, and more data or fsdp"
        )
    types = (jax.sharding.AxisType.Auto,) * 3
    return jax.make_mesh(tuple(sizes.values()), AXES, axis_types=types, devices=devices)


def preset_sizes(preset: str, devices: int, kv_heads: int | None) -> dict[str, int]:
    """Axis sizes of a preset: parameters whole on every device (data), split over all (fsdp), or split over all with
    the heads over as many as divide both K and the devices (fsdp+tensor)."""
    if preset not in PRESETS:
        raise ValueError(f"config.mesh.preset={preset!r}: choose one of {', '.join(PRESETS)}, or give sizes")
    tensor = 1
    if preset == "fsdp+tensor":
        if kv_heads is None:
            raise ValueError("the preset fsdp+tensor depends on the model: give kv_heads")
        tensor = math.gcd(kv_heads, devices)
    axis = "data" if preset == "data" else "fsdp"
    return {"data": 1, "fsdp": 1, "tensor": tensor, axis: devices // tensor}


def _named(sizes: dict[str, int]) -> str:
    return " x ".join(f"{axis}={size}" for axis, size in sizes.items())


def batch_shards(mesh: Mesh) -> int:
    """The number of parts a batch is split into."""
    return math.prod(mesh.shape[axis] for axis in RULES["batch"])


def spec_for(shape: Sequence[int], names: Sequence[str | None], sizes: dict[str, int]) -> PartitionSpec:
    """The PartitionSpec of an array whose axes have these logical names, on a mesh with these axis sizes.

    A rule that does not divide its axis is dropped for that axis: the array stays whole along it.
    """
    wanted = [tuple(a for a in (RULES[name] if name else ()) if sizes.get(a, 1) > 1) for name in names]
    fits = [n % math.prod(sizes[a] for a in axes) == 0 for n, axes in zip(shape, wanted, strict=True)]
    return PartitionSpec(*(axes if axes and ok else None for axes, ok in zip(wanted, fits, strict=True)))


def dropped_rules(shape: Sequence[int], names: Sequence[str | None], sizes: dict[str, int]) -> list[str]:
    """What `spec_for` leaves whole although a rule would split it, in words."""
    found = []
    for length, name in zip(shape, names, strict=True):
        axes = RULES[name] if name else ()
        parts = math.prod(sizes.get(a, 1) for a in axes)
        if length % parts:
            found.append(f"{name} of {length} does not divide over {parts} devices ({' x '.join(axes)})")
    return found


def on_one_device() -> bool:
    """Whether nothing is split: outside a mesh context (jax.set_mesh), or on a mesh of one device."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh.empty or mesh.size == 1


def constrain(x: jax.Array, *names: str | None) -> jax.Array:
    """`x` with its axes sharded as the rule table says; does nothing on one device."""
    if on_one_device():
        return x
    sizes = dict(jax.sharding.get_abstract_mesh().shape)
    return jax.lax.with_sharding_constraint(x, spec_for(x.shape, names, sizes))


def divides(length: int, name: str) -> bool:
    """Whether an axis of this length splits as its rule says on the mesh in use."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh.empty or length % math.prod(mesh.shape[axis] for axis in RULES[name]) == 0


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Sharding of a host batch, whose first axis is B."""
    return NamedSharding(mesh, PartitionSpec(RULES["batch"]))
