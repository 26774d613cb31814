"""A state written on one mesh is read on another. Own process: the number of CPU devices is fixed at start."""

import os
import subprocess
import sys

PROGRAM = """
import sys, jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from rrft_jax.run.checkpoints import Checkpoints
devices = np.array(jax.devices()); assert devices.size == int(sys.argv[2])
sharding = NamedSharding(Mesh(devices, "x"), P("x"))
values = np.random.default_rng(0).standard_normal((16, 50)).astype(np.float32)
with Checkpoints(sys.argv[1]) as c:
    if c.latest_step() is None:
        c.save(1, {"w": jax.device_put(values, sharding)}, {})
    target = {"w": jax.ShapeDtypeStruct((16, 50), jnp.float32, sharding=sharding)}
    for wanted in (target, {"w": jax.device_put(jnp.zeros((16, 50)), sharding)}):
        w = c.restore(wanted)[0]["w"]
        assert w.sharding == sharding and np.array_equal(np.asarray(w), values)
    assert np.array_equal(c.restore()[0]["w"], values)
"""


def test_restore_on_another_mesh(tmp_path):
    for count in (4, 2):
        flags = f"--xla_force_host_platform_device_count={count}"
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path), str(count)],
            env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
