"""A disk that fills while a run writes: one line that says where and how much, and a run that resumes from before."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from tests.training import runs


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, of 160 MiB: three checkpoints and more."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = [shutil.which("mount") or "false", "-t", "tmpfs", "-o", "size=160m", "tmpfs", place]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(disk):
    with open(disk / "filler", "ab") as f:
        while free := os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize:
            os.posix_fallocate(f.fileno(), os.fstat(f.fileno()).st_size, free)


def filled_when(launcher, workdir, disk, happened):
    """Starts the run, fills the disk once happened(output) holds, and returns what the process then wrote."""
    log = runs.log_file(workdir)
    before = log.stat().st_size if log.exists() else 0
    process = launcher.start(workdir, *runs.TINY, "--config.checkpoint.every=1")
    output = lambda: log.read_bytes()[before:].decode()  # noqa: E731
    try:
        deadline = time.monotonic() + runs.LIMIT_S
        while True:
            assert process.poll() is None and time.monotonic() < deadline, output()[-3000:]
            if happened(output()):
                process.send_signal(signal.SIGSTOP)
                if happened(output()):
                    break
                process.send_signal(signal.SIGCONT)
        fill(disk)
        process.send_signal(signal.SIGCONT)
        assert process.wait(runs.LIMIT_S) == 2, output()[-3000:]
    finally:
        process.kill()
    return output()


@pytest.mark.slow
def test_a_disk_that_fills_in_the_middle_of_a_save_and_of_a_step(launcher, finished, disk, tmp_path):
    workdir, checkpoints = tmp_path / "run", disk / "run" / "checkpoints"
    (disk / "run").mkdir()
    workdir.symlink_to(disk / "run")  # the log stays outside
    saving = lambda output: runs.steps_written(workdir) >= 2 and list(checkpoints.glob("2.*-tmp*"))  # noqa: E731
    output = filled_when(launcher, workdir, disk, saving)
    *_, line, hint, command = output.splitlines()
    assert line.startswith("error: the checkpoint of step 2 takes ") and "Traceback" not in output, output[-9000:]
    assert f"MiB are free at {workdir / 'checkpoints'} (" in line and line.endswith("make room there, then resume.")
    assert "MiB are missing" in line and hint == "saved up to step 1; to resume from there:"

    fill(disk)  # the save that failed gave its room back
    wanted = "cannot be written (No space left on device; 0.0 MiB"
    line = launcher.run(workdir, *runs.TINY, code=2).splitlines()[-1]
    assert line.startswith(f"error: {workdir}/") and wanted in line and line.endswith("make room there, then resume.")
    (disk / "filler").unlink()

    output = filled_when(launcher, workdir, disk, lambda output: f"resuming {workdir} at step 1" in output)
    line, hint, command = (x for x in output.splitlines()[-3:])
    assert line.startswith(f"error: {workdir}/") and wanted in line, output[-6000:]
    assert "Traceback" not in output and hint == "saved up to step 1; to resume from there:"
    (disk / "filler").unlink()
    launcher.run(workdir, *runs.TINY)
    runs.assert_same_result(workdir, finished[0])
    assert not list(workdir.rglob("*tmp*"))
