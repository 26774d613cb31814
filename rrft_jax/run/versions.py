"""What, besides the config, decides the bits of a result: versions of program and libraries, machine, git commit."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from rrft_jax.doors import file_of

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "transformers", "numpy")


def collect_versions() -> dict[str, Any]:
    """Versions of program and libraries, machine and git commit, which decide the bits of a result with the config."""
    import rrft_jax

    found: dict[str, Any] = {"python": platform.python_version(), "rrft_jax": rrft_jax.__version__}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    devices = jax.devices()
    found["platform"] = platform.platform()
    found["cores"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found["backend"] = jax.default_backend()
    found["device_kind"] = devices[0].device_kind
    found["device_count"] = len(devices)
    found["process_count"] = jax.process_count()
    found["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "")
    found["git"] = git_state(Path(rrft_jax.__file__).parent)
    return found


def git_state(folder: Path) -> dict[str, Any] | None:
    """{"commit", "dirty"} of the repository that tracks the sources in `folder`, None where there is none."""

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(("git", "-C", str(folder), *args), capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # An installed copy may lie inside somebody else's repository, whose commit says nothing about these sources.
    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = git("rev-parse", "HEAD")
    if not commit:
        return None
    return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}


def user_files(config: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the files that a config takes the user's own code from, by path; config: dotted field -> value."""
    texts = [t for value in config.values() for t in (value if isinstance(value, list | tuple) else (value,))]
    # A reward has its weight behind its reference.
    references = [r for text in texts if isinstance(text, str) for r in (text, text.rpartition("=")[0])]
    files = dict.fromkeys(filter(None, map(file_of, references)))
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files}


def version_notes(old: Mapping, new: Mapping) -> tuple[str, ...]:
    """One line per recorded difference between the first start and now."""
    keys = [k for k in new if k not in ("platform", "seeds", "git", "files") and k in old and old[k] != new[k]]
    notes = [f"{k}: {old[k]} -> {new[k]}; the result may differ in its last bits" for k in keys]
    if old.get("git") != new.get("git"):
        notes.append(f"git: {old.get('git')} -> {new.get('git')}; the program may not be the same")
    before = old.get("files") or {}
    edited = [file for file, digest in new.get("files", {}).items() if before.get(file, digest) != digest]
    notes += [f"{file} was edited since the run started; it is read as it is now" for file in edited]
    return tuple(notes)
