"""What holds for every test.

Functions of some rooms are checked against their annotations as they are called, the shapes of arrays included.
The hundreds of processes that tests start share their compiled programs, for one session.
Hypothesis has no limit of time, for an example takes ten times as long on a busy machine.
"""

import atexit
import gc
import os
import shutil
import tempfile

import jax
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

import tests.typechecks  # noqa: F401  (named in the hook as text)

# Of training the files whose functions take and return arrays: tests drive the loop and its feeds with stand-ins.
ARRAYS = ("batches", "held_out", "minibatches", "optimizer", "parameters", "programs", "rewarding", "step")
install_import_hook(
    ["rrft_jax.losses", "rrft_jax.models", "rrft_jax.rollout", *(f"rrft_jax.training.{name}" for name in ARRAYS)],
    "tests.typechecks.check",
)

worker = "PYTEST_XDIST_WORKER" in os.environ  # it inherits the folder of the process that started it
if worker or "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    jax.config.update("jax_compilation_cache_dir", None)  # tests in this process compile
    programs = tempfile.mkdtemp(prefix="rrft-programs-")
    atexit.register(shutil.rmtree, programs, ignore_errors=True)
    os.environ |= {"JAX_COMPILATION_CACHE_DIR": programs, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def pytest_collection_finish():
    """All tests and libraries are left alone by the collector, which otherwise goes through them again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
