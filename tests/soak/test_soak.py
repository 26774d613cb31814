"""A run that suffers one fault after the other ends with the bits of one that was left alone.

`make soak`: RRFT_SOAK_FAULTS faults (default 30), drawn by RRFT_SOAK_SEED (default: another one each time); both are
printed. In every run some gradients are NaN.
"""

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rrft_jax.run.metrics import read_metrics
from tests.soak import faults
from tests.soak.faults import FAULTS, MOST, Soak
from tests.training import runs


@pytest.fixture
def launcher():
    return runs.Launcher(Path(os.environ["JAX_COMPILATION_CACHE_DIR"]))


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, where one can be mounted; else None."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = [shutil.which("mount") or "false", "-t", "tmpfs", "-o", "size=160m", "tmpfs", place]
    mounted = not subprocess.run(mount, capture_output=True).returncode
    yield place if mounted else None
    if mounted:
        subprocess.run(["umount", "-l", place], check=True)


def left_alone(launcher, place, steps) -> Soak:
    with Soak(launcher, place, steps, random.Random(0)) as soak:
        soak.ended(soak.start(), 0)
    skipped = sum(record.get("update_skipped", 0) for record in read_metrics(soak.workdir))
    assert skipped == sum(step % 7 == 6 for step in range(1, steps + 1)), "NaN gradients are among the faults"
    return soak


def resumed_to_the_end(soak: Soak, undisturbed: Soak) -> None:
    (soak.clock / "jump").unlink(missing_ok=True)
    soak.ended(soak.start(), 0)
    missing = sum(record.get("reward_error", 0) for record in read_metrics(soak.workdir))
    assert missing == 0, "what a lost worker had in hand is tried again"
    runs.assert_same_result(soak.workdir, undisturbed.workdir)
    assert not list(soak.workdir.rglob("*tmp*"))


@pytest.mark.soak
def test_faults_cost_no_more_than_the_interval_and_no_bit(launcher, disk, tmp_path):
    number = int(os.environ.get("RRFT_SOAK_FAULTS", "30"))
    seed = int(os.environ.get("RRFT_SOAK_SEED", random.randrange(10**6)))
    print(f"RRFT_SOAK_SEED={seed} RRFT_SOAK_FAULTS={number}", flush=True)
    rng = random.Random(seed)
    undisturbed = left_alone(launcher, tmp_path / "quiet", MOST * (number + 1))
    waiting: list[Callable[[Soak], None]] = []
    done = 0
    with Soak(launcher, tmp_path / "soak", MOST * (number + 1), rng, disk) as soak:
        while done < number and soak.reached < soak.steps - 2 * MOST:
            waiting = waiting or rng.sample(FAULTS, len(FAULTS))  # each kind as often as the others
            fault = waiting.pop()
            if fault is faults.full_disk and disk is None:
                continue
            said, done = len(soak.told), done + 1
            soak.told.append(f"{done}: {fault.__name__} after step {soak.reached}")
            fault(soak)
            print(*soak.told[said:], sep="\n", flush=True)
        resumed_to_the_end(soak, undisturbed)
    print(f"{done} faults, {len(soak.processes)} starts, {soak.steps} steps: the same bits", flush=True)


@pytest.mark.slow
def test_a_lost_worker_a_clock_that_jumps_and_a_picture_that_is_gone(launcher, tmp_path):
    """The faults that no other test of a run has, in one process; with NaN gradients."""
    undisturbed = left_alone(launcher, tmp_path / "quiet", 20)
    with Soak(launcher, tmp_path / "soak", 20, random.Random(3)) as soak:
        process = soak.started()
        faults.lose_worker(soak, process)
        soak.two_steps_more(process)
        faults.jump_clock(soak)
        removed, content = faults.remove_picture(soak)
        assert removed.name in soak.ended(process, 2)
        removed.write_bytes(content)
        resumed_to_the_end(soak, undisturbed)
