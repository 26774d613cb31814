"""Compiled programs are found again by the next process, and an unwritable place is no obstacle."""

import os
import subprocess
import sys
from pathlib import Path

from rrft_jax import compilation

PROGRAM = """
import sys
import jax
import jax.numpy as jnp
from rrft_jax import compilation
compilation.keep_programs(sys.argv[1])
compilation.explain_compilations()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
print(jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((3, 3))).sum())
"""


def run(directory, **environment):
    env = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    env |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parents[1]), **environment}
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(directory)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_second_start_compiles_nothing(tmp_path):
    first, second = run(tmp_path), run(tmp_path)
    assert "MISS" in first and "HIT" not in first.upper().replace("CACHE MISS", "")
    assert "Persistent compilation cache hit" in second
    assert [p.name for p in tmp_path.iterdir()] == [compilation.host_kind()]


def test_the_environment_decides_first(tmp_path):
    run(tmp_path / "flag", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "env"))
    assert (tmp_path / "env").exists() and not (tmp_path / "flag").exists()


def test_an_unwritable_place_only_warns(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in run(tmp_path / "file" / "below")
    assert run("").count("cannot be written") == 0
