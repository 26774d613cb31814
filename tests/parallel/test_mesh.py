"""The rule table and the mesh. Eight fake devices live in their own process: their number is fixed at start."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from rrft_jax.parallel.mesh import RULES, constrain, make_mesh, spec_for

SIZES = {"data": 2, "fsdp": 2, "tensor": 2}


@pytest.mark.parametrize(
    ("shape", "names", "spec"),
    [
        ((8, 5), ("batch", None), P(("data", "fsdp"), None)),
        ((6, 5), ("batch", None), P(None, None)),  # 6 rows do not divide over 4 devices
        ((61, 32), ("vocab", "embed"), P(None, ("fsdp",))),  # a prime vocabulary stays whole
        ((64, 32), ("vocab", "embed"), P(("tensor",), ("fsdp",))),
        ((2, 32, 48), ("layers", "embed", "mlp"), P(None, ("fsdp",), ("tensor",))),
    ],
)
def test_spec_for(shape, names, spec):
    assert spec_for(shape, names, SIZES) == spec


def test_spec_for_drops_axes_of_size_one():
    assert spec_for((8, 32), ("batch", "embed"), {"data": 4, "fsdp": 1, "tensor": 1}) == P(("data",), None)
    assert spec_for((8,), ("batch",), {"data": 1, "fsdp": 1, "tensor": 1}) == P(None)


def test_spec_for_wants_one_known_name_an_axis():
    with pytest.raises(ValueError):
        spec_for((2, 3), ("batch",), SIZES)
    with pytest.raises(KeyError, match="width"):
        spec_for((2,), ("width",), SIZES)


def test_every_rule_names_mesh_axes():
    assert {axis for axes in RULES.values() for axis in axes} == {"data", "fsdp", "tensor"}


def test_constrain_does_nothing_without_a_mesh():
    x = jnp.ones((3, 2))
    assert constrain(x, "batch", None) is x


@pytest.mark.parametrize("axes", [{"data": 3}, {"data": 1, "fsdp": 2}, {"fsdp": 2}, {"data": -1, "tensor": 16}])
def test_a_mesh_that_does_not_fit_is_refused(axes):
    with pytest.raises(ValueError, match=r"there are 1: change config.mesh"):
        make_mesh(**axes, devices=jax.devices()[:1])


PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from rrft_jax.parallel.mesh import batch_sharding, constrain, make_mesh
assert dict(make_mesh().shape) == {"data": 8, "fsdp": 1, "tensor": 1}
assert dict(make_mesh(fsdp=2, tensor=2).shape) == {"data": 2, "fsdp": 2, "tensor": 2}
for axes in ({"data": 3}, {"data": 8, "fsdp": 2}, {"data": -1, "fsdp": 3}, {"data": 0}):
    try:
        make_mesh(**axes)
    except ValueError as error:
        assert "but there are 8: change config.mesh" in str(error), error
    else:
        raise AssertionError(axes)
mesh = make_mesh(data=2, fsdp=2, tensor=2)
x = np.arange(48.0).reshape(8, 6)
on_batch = jax.device_put(x, batch_sharding(mesh))
assert {s.data.shape for s in on_batch.addressable_shards} == {(2, 6)}
assert {s.data.shape for s in jax.device_put(x, NamedSharding(mesh, P())).addressable_shards} == {(8, 6)}
with jax.set_mesh(mesh):
    y = jax.jit(lambda x: constrain(2 * x, "batch", "vocab"))(jax.device_put(x, NamedSharding(mesh, P())))
    z = jax.jit(lambda x: constrain(2 * x, "batch", "vocab"))(x[:7])  # 7 rows stay whole
assert {s.data.shape for s in y.addressable_shards} == {(2, 3)}, y.sharding
assert {s.data.shape for s in z.addressable_shards} == {(7, 3)}, z.sharding
assert np.array_equal(y, 2 * x) and np.array_equal(z, 2 * x[:7])
"""


def test_meshes_of_eight_devices():
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
