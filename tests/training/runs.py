"""Real runs of launch/train.py: tiny, each in a process of its own, sharing one compilation cache."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rrft_jax.run.checkpoints import Checkpoints, flatten_state
from rrft_jax.run.metrics import read_metrics

ROOT = Path(__file__).parents[2]
GRPO = "configs/grpo_counting.py:runlocal"
STEPS = 4
# Evaluation and a checkpoint after steps 2 and 4, completions after 1, 2 and 4.
TINY = (
    f"--config.train.steps={STEPS}",
    "--config.train.prompts=4",
    "--config.train.micro_batches=1",
    "--config.rollout.max_completion_length=24",
    "--config.eval.examples=4",
    "--config.eval.batch=4",
    "--config.log.progress_every=1",
)
LIMIT_S = 900  # of one process; only a hanging one comes near it
QUICK_COMPILE = "--xla_backend_optimization_level=0"
TIMES = ("time", "step_time", "between_steps", "tokens_per_second")


@dataclasses.dataclass(frozen=True)
class Launcher:
    """Starts launch/train.py. cache: compiled programs, shared. flags: XLA_FLAGS. packages: folders of others."""

    cache: Path
    flags: str = QUICK_COMPILE
    packages: tuple[Path, ...] = ()

    def start(self, workdir: Path, *options: str, config: str = GRPO) -> subprocess.Popen:
        """The process; its output goes to <workdir>.log, after what earlier processes of the workdir wrote."""
        command = [sys.executable, "launch/train.py", f"--config={config}", *options, f"--workdir={workdir}"]
        with open(log_file(workdir), "ab") as log:
            return subprocess.Popen(command, cwd=ROOT, env=self.environment(), stdout=log, stderr=subprocess.STDOUT)

    def run(self, workdir: Path, *options: str, config: str = GRPO, code: int = 0) -> str:
        """Runs to the end, checks the exit code and returns what this process wrote."""
        log = log_file(workdir)
        before = log.stat().st_size if log.exists() else 0
        process = self.start(workdir, *options, config=config)
        assert process.wait(LIMIT_S) == code, log.read_text()[-4000:]
        return log.read_bytes()[before:].decode()

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *self.packages))),
            "PYTHONUNBUFFERED": "1",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": " ".join([*instruction_set(), self.flags]),
            "JAX_COMPILATION_CACHE_DIR": str(self.cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_LOG_COMPILES": "1",
        }


def instruction_set() -> list[str]:
    """The flag that the suite itself runs with, when it is run for another processor."""
    return [flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag.startswith("--xla_cpu_max_isa=")]


def log_file(workdir: Path) -> Path:
    return workdir.with_name(f"{workdir.name}.log")


def stop_when(process: subprocess.Popen, happened: Callable[[], bool], number: signal.Signals) -> int:
    """Sends the signal as soon as `happened()` holds; the return code, negative if the signal ended the process."""
    deadline = time.monotonic() + LIMIT_S
    try:
        while not happened():
            assert process.poll() is None, f"the run ended before it could be stopped, exit code {process.returncode}"
            assert time.monotonic() < deadline, "the run did not get there in time"
            time.sleep(0.005)
        process.send_signal(number)
        return process.wait(LIMIT_S)
    finally:
        process.kill()


def steps_written(workdir: Path) -> int:
    """The last step in metrics.jsonl; -1 before the first line."""
    file = workdir / "metrics.jsonl"
    return file.read_bytes().count(b"\n") - 1 if file.exists() else -1


def metrics_without_times(workdir: Path) -> list[dict]:
    """The lines of metrics.jsonl without what a clock said. As text, so that equal means equal to the last bit."""
    return [
        {k: repr(v) for k, v in record.items() if k not in TIMES and not k.startswith("timing/")}
        for record in read_metrics(workdir)
    ]


def checkpoint(workdir: Path, step: int | None = None) -> tuple[dict[str, np.ndarray], dict, int]:
    """(arrays by path, host state without the clock's, step) of a checkpoint, by default the latest."""
    with Checkpoints(workdir / "checkpoints", read_only=True) as checkpoints:
        state, host, step = checkpoints.restore(step=step)
    return flatten_state(state), {k: v for k, v in host.items() if k != "cpu_seconds"}, step


def relative_distance(a: dict, b: dict, part: str) -> float:
    """Norm of the difference over the norm, of all arrays whose path holds `part`."""
    names = [name for name in a if part in name]
    assert names
    flat = [np.concatenate([x[name].ravel().astype(np.float64) for name in names]) for x in (a, b)]
    assert np.linalg.norm(flat[1]) > 0
    return float(np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[1]))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_same_result(workdir: Path, expected: Path) -> None:
    """Two finished runs agree in every bit that no clock decides."""
    assert metrics_without_times(workdir) == metrics_without_times(expected)
    (mine, host, step), (theirs, their_host, their_step) = checkpoint(workdir), checkpoint(expected)
    assert (step, host) == (their_step, their_host)
    assert {k: (x.dtype, x.shape) for k, x in mine.items()} == {k: (x.dtype, x.shape) for k, x in theirs.items()}
    assert [k for k in mine if mine[k].tobytes() != theirs[k].tobytes()] == []
    for folder in ("completions", "held_out", "hf"):
        ours, theirs = files(workdir / folder), files(expected / folder)
        assert [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)] == []
    assert json.loads((workdir / "DONE").read_text())["num_tokens"] == host["num_tokens"]
