"""What the programs compile: kept on disk between starts, and explained on request."""

import gc
import hashlib
import logging
import os
import platform
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import jax


def host_kind() -> str:
    """A short digest of this machine's instruction set: a program compiled for a CPU may not run on an older one."""
    flags = [platform.machine()]
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        flags += sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    return hashlib.sha256("\n".join(flags).encode()).hexdigest()[:12]


def keep_programs(directory: str) -> None:
    """Compiled programs go to, and come from, a folder per kind of machine below `directory`; "" keeps none.

    JAX_COMPILATION_CACHE_DIR, where it is set, decides instead. A folder that cannot be written is warned about and
    left out: the run only starts more slowly.
    """
    if not directory or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    folder = Path(directory).expanduser() / host_kind()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        logging.getLogger(__name__).warning("compiled programs are not kept: %s cannot be written", folder)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Low enough for what makes the train state, 0.2 s of a start.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def explain_compilations() -> None:
    """Every compilation is logged with its program, and every cache miss of jit with its reason."""
    jax.config.update("jax_log_compiles", True)
    jax.config.update("jax_explain_cache_misses", True)


@contextmanager
def kept_for_good() -> Generator[None]:
    """For imports: what they make stays, so the collector is off inside, and never looks at it later.

    The libraries of a run are a quarter of a million objects that it watches. Tracing a program makes so many more
    that it would go through all of them again and again. Whatever else is alive at the end is left alone, too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
