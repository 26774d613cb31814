"""What can happen to a run: each fault lets it go on for some steps, does its harm at a place that the seed draws,
checks what the run says of it, and leaves no process behind, so that the next start resumes."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from rrft_jax.tasks.registry import get_task
from tests.training import runs

EVERY = 3  # steps between checkpoints: what a fault may cost
MOST = 10  # steps from one fault to the next, about
PICTURES = 12
OPTIONS = (
    "--config.train.prompts=2", "--config.train.micro_batches=1", "--config.rollout.group=4",
    "--config.rollout.max_completion_length=16", "--config.eval.examples=4", "--config.eval.batch=4",
    "--config.eval.every=8", f"--config.checkpoint.every={EVERY}", "--config.checkpoint.keep_last=2",
    "--config.data.strict=True", "--config.log.report=False", "--config.log.sinks=()", "--config.train.max_skipped=5",
    "--config.log.progress_every=1", "--config.log.exchanged_pictures=False", "--config.loss.beta=0",
)  # fmt: skip
# A value in whose group the advantages overflow: the gradient is NaN, and the update is skipped.
REWARD = '''
def wild(completions, examples, group_ids, step):
    return [3e38 * (k % 2) if step % 7 == 5 else 0.0 for k in range(len(completions))]
'''
CLOCK = '''
import os, time
real, place = time.time, os.path.join(os.path.dirname(os.path.abspath(__file__)), "jump")
def jumped():
    try:
        return real() + float(open(place).read())
    except (OSError, ValueError):
        return real()
time.time = jumped
'''


@dataclass
class Soak:
    """One run and its surroundings; a context that leaves no process. disk: a file system for the run directory alone,
    which faults may fill."""

    launcher: runs.Launcher
    place: Path
    steps: int
    rng: random.Random
    disk: Path | None = None
    reached: int = 0  # the last step written before the process ended
    lost: int = EVERY  # steps that the next resume may cost
    told: list[str] = field(default_factory=list)
    processes: list[subprocess.Popen] = field(default_factory=list)

    def __post_init__(self):
        self.workdir, self.records, self.clock = (self.place / name for name in ("run", "records", "clock"))
        for folder in (self.records, self.clock):
            folder.mkdir(parents=True)
        if self.disk is not None:  # the log stays outside
            (self.disk / "run").mkdir()
            self.workdir.symlink_to(self.disk / "run")
        (self.clock / "sitecustomize.py").write_text(CLOCK)
        (self.place / "wild.py").write_text(REWARD)
        rows = []
        for k in range(PICTURES):
            example = get_task("visual_counting").make(1, k, "train", "in")
            Image.fromarray(np.asarray(example.images[0])).save(self.records / f"{k}.png")
            # A gold that only the reward workers can settle.
            gold = f"\\log_2 {2 ** int(example.answer)}"
            rows.append({"id": example.id, "image": f"{k}.png", "problem": example.problem, "answer": gold})
        (self.records / "train.json").write_text(json.dumps(rows))
        self.launcher = runs.Launcher(self.launcher.cache, self.launcher.flags, (self.clock,))

    def __enter__(self) -> "Soak":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()

    def start(self) -> subprocess.Popen:
        self.checked, self.read = False, b""
        log = runs.log_file(self.workdir)
        self.before = log.stat().st_size if log.exists() else 0
        config = f"configs/grpo_counting.py:runlocal,data={self.records}"
        reward = f"--reward={self.place / 'wild.py'}:wild=1.0"
        options = *OPTIONS, f"--config.train.steps={self.steps}", reward
        self.processes.append(self.launcher.start(self.workdir, *options, config=config))
        return self.processes[-1]

    def output(self) -> str:
        """What this process has written."""
        with open(runs.log_file(self.workdir), "rb") as log:
            log.seek(self.before + len(self.read))
            self.read += log.read()
        return self.read.decode(errors="replace")

    def step(self) -> int:
        """The last step that this process has taken; -1: none."""
        return max(map(int, re.findall(r"^step (\d+)/", self.output(), re.MULTILINE)), default=-1)

    def run_until(self, process: subprocess.Popen, step: int) -> bool:
        """Whether this process came to `step`; False where it ended before. Checks what the resume cost."""
        deadline = time.monotonic() + runs.LIMIT_S
        while process.poll() is None and self.step() < step:
            assert time.monotonic() < deadline, self.output()[-3000:]
            time.sleep(0.03)
        self.check_resume()
        return process.poll() is None

    def resumed(self) -> int:
        """The step at which this process began."""
        found = re.search(r"resuming \S+ at step (\d+) of", self.output())
        return int(found[1]) if found else 0

    def check_resume(self) -> None:
        if not self.checked and self.step() >= 0:
            assert self.resumed() >= self.reached - self.lost, (self.resumed(), self.reached, self.told)
            self.lost, self.checked = EVERY, True

    def started(self) -> subprocess.Popen:
        """A process that has saved a further checkpoint and is at any place in its work."""
        process = self.start()
        self.run_until(process, 1)
        self.run_until(process, self.resumed() + EVERY + 1 + self.rng.randint(0, EVERY - 1))
        assert process.poll() is None, self.output()[-3000:]
        time.sleep(self.rng.random() * 0.2)
        return process

    def ended(self, process: subprocess.Popen, code: int) -> str:
        """The output, in which there must be no traceback of ours. After a failed restore tensorstore's threads print
        one ("Event loop is closed") for each other read that was under way; no hook of Python's can stop that."""
        assert process.wait(runs.LIMIT_S) == code, (code, process.returncode, self.output()[-3000:])
        self.check_resume()
        self.reached = max(runs.steps_written(self.workdir), 0)
        output = self.output()
        late = output.count("raise RuntimeError('Event loop is closed')")
        assert output.count("Traceback") == late, output[-6000:]
        return output

    def kill(self, process: subprocess.Popen) -> None:
        process.send_signal(signal.SIGKILL)
        self.ended(process, -signal.SIGKILL)

    def two_steps_more(self, process: subprocess.Popen) -> None:
        assert self.run_until(process, self.step() + 2), self.output()[-3000:]


def killed(soak: Soak) -> None:
    soak.kill(soak.started())


def terminated(soak: Soak) -> None:
    process = soak.started()
    process.send_signal(signal.SIGTERM)
    assert "to resume" in soak.ended(process, 0)
    soak.lost = 0


def full_disk(soak: Soak) -> None:
    process = soak.started()
    filler = soak.disk / "filler"
    deadline = time.monotonic() + runs.LIMIT_S
    with open(filler, "wb") as f:
        while process.poll() is None and time.monotonic() < deadline:  # a run frees what it no longer keeps
            free = os.statvfs(soak.disk).f_bavail * os.statvfs(soak.disk).f_bsize
            with suppress(OSError):  # the run may take it first
                os.posix_fallocate(f.fileno(), os.fstat(f.fileno()).st_size, max(free, 1))
            time.sleep(0.01)
    assert "make room there" in soak.ended(process, 2)
    filler.unlink()


def _damaged(soak: Soak, harm: Callable[[Path], None]) -> None:
    """Harms a file of the newest checkpoint, starts, and does what the error says; not every file is read."""
    saved = lambda: [p for p in (soak.workdir / "checkpoints").glob("*") if p.name.isdecimal()]  # noqa: E731
    if soak.lost > EVERY or not saved():  # there may be no other to resume from
        soak.kill(soak.started())
    newest = max(saved(), key=lambda p: int(p.name))
    files = sorted(path for path in newest.rglob("*") if path.is_file() and path.stat().st_size)
    weights = [path.stat().st_size for path in files] if soak.rng.random() < 0.5 else None  # or any, mostly small ones
    (file,) = soak.rng.choices(files, weights)
    harm(file)
    soak.told.append(f"  {newest.name}/{file.relative_to(newest)}")
    process = soak.start()
    if soak.run_until(process, int(newest.name) + 1):
        soak.kill(process)
        return
    output = soak.ended(process, 2)
    assert str(newest) in output and "delete" in output.lower(), output[-2000:]
    soak.told.append("  refused")
    shutil.rmtree(newest)
    soak.lost = 2 * EVERY


def truncated(soak: Soak) -> None:
    _damaged(soak, lambda file: os.truncate(file, soak.rng.randrange(file.stat().st_size)))


def flipped(soak: Soak) -> None:
    def flip(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[soak.rng.randrange(len(content))] ^= 1 << soak.rng.randrange(8)
        file.write_bytes(content)

    _damaged(soak, flip)


def data_removed(soak: Soak) -> None:
    """A picture, before a start or in the middle of a run."""
    running = soak.started() if soak.rng.random() < 0.5 else None
    removed, content = remove_picture(soak)
    process = running or soak.start()
    if running and soak.run_until(process, soak.step() + 3):
        soak.kill(process)  # it was not that picture's turn
    else:
        assert removed.name in soak.ended(process, 2)
    removed.write_bytes(content)


def remove_picture(soak: Soak) -> tuple[Path, bytes]:
    file = soak.records / f"{soak.rng.randrange(PICTURES)}.png"
    content = file.read_bytes()
    file.unlink()
    return file, content


def worker_killed(soak: Soak) -> None:
    process = soak.started()
    lose_worker(soak, process)
    soak.two_steps_more(process)
    soak.kill(process)


def lose_worker(soak: Soak, process: subprocess.Popen) -> None:
    children = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(process.pid)], capture_output=True, text=True)
    workers = [int(line.split()[0]) for line in children.stdout.splitlines() if "rewards.worker" in line]
    assert workers, children.stdout
    os.kill(soak.rng.choice(workers), signal.SIGKILL)


def clock_jumped(soak: Soak) -> None:
    process = soak.started()
    jump_clock(soak)
    soak.two_steps_more(process)
    soak.kill(process)


def jump_clock(soak: Soak) -> None:
    (soak.clock / "jump").write_text(str(soak.rng.choice((-1, 1)) * soak.rng.uniform(1, 1e8)))


FAULTS = (killed, terminated, full_disk, truncated, flipped, data_removed, worker_killed, clock_jumped)
