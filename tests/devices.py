"""Programs in a process of their own, with fake CPU devices: how many there are is fixed when jax starts."""

import os
import subprocess
import sys
from pathlib import Path


def run_on_devices(program: str, *arguments: object, count: int = 8) -> str:
    """What the Python text `program` printed, on `count` devices; arguments are its sys.argv[1:]."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={
            **os.environ,
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}",
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
