"""The device mesh and the one table that says which mesh axes a logical axis is split over."""

import math
from collections.abc import Sequence

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXES = ("data", "fsdp", "tensor")

# Logical axis -> mesh axes. Activations name "batch", "act_heads", "vocab"; parameters name the others.
RULES: dict[str, tuple[str, ...]] = {
    "batch": ("data", "fsdp"),
    "embed": ("fsdp",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "mlp": ("tensor",),
    "vocab": ("tensor",),
    "vision_heads": (),
    "layers": (),
}


def make_mesh(data: int = -1, fsdp: int = 1, tensor: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh with axes ('data', 'fsdp', 'tensor'); data=-1 takes whatever devices are left.

    Raises ValueError when the product of the axes is not the number of devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    rest = fsdp * tensor
    if data == -1:
        data = len(devices) // rest
    if data * rest != len(devices) or data < 1:
        raise ValueError(
            f"mesh data={data} x fsdp={fsdp} x tensor={tensor} needs {max(data, 1) * rest} devices, but there are "
            f"{len(devices)}: change config.mesh so that the product fits (data=-1 fills up)"
        )
    types = (jax.sharding.AxisType.Auto,) * 3
    return jax.make_mesh((data, fsdp, tensor), AXES, axis_types=types, devices=devices)


def spec_for(shape: Sequence[int], names: Sequence[str | None], sizes: dict[str, int]) -> PartitionSpec:
    """The PartitionSpec of an array whose axes have these logical names, on a mesh with these axis sizes.

    A rule that does not divide its axis is dropped for that axis: the array stays whole along it.
    """
    parts = []
    for length, name in zip(shape, names, strict=True):
        axes = tuple(a for a in (RULES[name] if name else ()) if sizes.get(a, 1) > 1)
        fits = axes and length % math.prod(sizes[a] for a in axes) == 0
        parts.append(axes if fits else None)
    return PartitionSpec(*parts)


def constrain(x: jax.Array, *names: str | None) -> jax.Array:
    """`x` with its axes sharded as the rule table says; does nothing outside a mesh context (jax.set_mesh)."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    return jax.lax.with_sharding_constraint(x, spec_for(x.shape, names, dict(mesh.shape)))


def batch_sharding(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Sharding of a host batch whose axis number `axis` is B."""
    return NamedSharding(mesh, PartitionSpec(*([None] * axis), RULES["batch"]))
