"""A run that is stopped, however and whenever, and started again ends with the bits of one that was not."""

import shlex
import shutil
import signal
import subprocess
import sys

import pytest

from rrft_jax.run.checkpoints import Checkpoints
from rrft_jax.training import loop
from rrft_jax.training.interrupt import GracefulStop
from tests.training import runs


def killed_after(launcher, workdir, step, *options):
    """Starts the tiny run and kills it with SIGKILL once the line of `step` is in metrics.jsonl."""
    process = launcher.start(workdir, *runs.TINY, *options)
    code = runs.stop_when(process, lambda: runs.steps_written(workdir) >= step, signal.SIGKILL)
    assert code == -signal.SIGKILL and not (workdir / "DONE").exists()


def test_killed_between_two_checkpoints(launcher, finished, tmp_path):
    workdir = tmp_path / "run"
    killed_after(launcher, workdir, 3)
    assert f"resuming {workdir} at step 2 of {runs.STEPS}" in launcher.run(workdir, *runs.TINY)
    runs.assert_same_result(workdir, finished[0])
    assert [record["step"] for record in runs.metrics_without_times(workdir)] == list(map(str, range(runs.STEPS + 1)))


@pytest.mark.slow
def test_killed_while_a_checkpoint_is_written(launcher, finished, tmp_path):
    workdir = tmp_path / "run"
    every_step = "--config.checkpoint.every=1"  # more chances; it may change, since it cannot change the result
    process = launcher.start(workdir, *runs.TINY, every_step)
    unfinished = lambda: list((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"))  # noqa: E731
    try:
        while True:
            assert process.poll() is None, "no save could be caught in the act"
            if runs.steps_written(workdir) >= 2 and unfinished():
                process.send_signal(signal.SIGSTOP)
                if unfinished():
                    break
                process.send_signal(signal.SIGCONT)
    finally:
        process.kill()
        process.wait()
    assert unfinished() and not (workdir / "DONE").exists()
    assert "resuming" in launcher.run(workdir, *runs.TINY)
    runs.assert_same_result(workdir, finished[0])
    assert not unfinished()


@pytest.mark.slow
def test_killed_again_and_again(launcher, finished, tmp_path):
    workdir = tmp_path / "run"
    killed_after(launcher, workdir, 1, "--config.checkpoint.every=100")  # it may change, since the result cannot
    assert not list((workdir / "checkpoints").glob("[0-9]*"))
    killed_after(launcher, workdir, 2)
    assert "resuming" not in runs.log_file(workdir).read_text(), "before the first checkpoint it begins anew"
    killed_after(launcher, workdir, 3)
    launcher.run(workdir, *runs.TINY)
    runs.assert_same_result(workdir, finished[0])


@pytest.mark.slow
def test_killed_while_the_result_is_written(launcher, finished, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    (workdir / "DONE").unlink()
    (workdir / "hf" / "config.json").unlink()
    (workdir / "hf" / "model.safetensors").write_bytes(b"half")
    output = launcher.run(workdir, *runs.TINY)
    assert "held-out greedy" not in output and "in-domain: accuracy" in output
    runs.assert_same_result(workdir, finished[0])


@pytest.mark.slow
def test_a_signal_saves_and_says_how_to_resume(launcher, finished, tmp_path):
    """Ctrl-C; SIGTERM stops the runs of the next two tests, and its exit code is in test_interrupt.py."""
    workdir = tmp_path / "run"
    options = (*runs.TINY, "--config.checkpoint.every=100", "--config.log.sinks=()")
    process = launcher.start(workdir, *options)
    code = runs.stop_when(process, lambda: runs.steps_written(workdir) >= 1, signal.SIGINT)
    output = runs.log_file(workdir).read_text()
    assert code == 130 and not (workdir / "DONE").exists(), output[-3000:]
    assert "SIGINT: saving after this step" in output
    _, host, step = runs.checkpoint(workdir)
    # Where the signal fell into an evaluation, the line of its step is still to come.
    assert step < runs.STEPS and step - runs.steps_written(workdir) == ("unevaluated" in host)
    lines = output.splitlines()
    command = lines[lines.index(f"stopped and saved at step {step}; to resume:") + 1]

    flags, *arguments = shlex.split(command)
    assert flags == f"XLA_FLAGS={launcher.flags}"
    done = subprocess.run(arguments, cwd=runs.ROOT, env=launcher.environment(), capture_output=True, text=True)
    assert done.returncode == 0 and f"resuming {workdir} at step {step}" in done.stdout, done.stderr[-3000:]
    runs.assert_same_result(workdir, finished[0])


@pytest.mark.slow
def test_a_signal_before_the_first_step(launcher, tmp_path):
    workdir = tmp_path / "run"
    process = launcher.start(workdir, *runs.TINY)
    loading = lambda: workdir.exists() and "parameters on" in runs.log_file(workdir).read_text()  # noqa: E731
    assert runs.stop_when(process, loading, signal.SIGTERM) == 0
    assert "stopped before the first step; to start:" in runs.log_file(workdir).read_text()
    assert runs.steps_written(workdir) == -1


# launch/train.py, with a SIGTERM at the start of one evaluation: those of steps 0, 2 and 4 are asked for in this order.
INTERRUPTED = """
import runpy, signal, sys
from rrft_jax.training import loop
real, calls, wanted = loop.evaluate_held_out, [], int(sys.argv.pop(1))
def evaluate(*args):
    calls.append(0)
    if len(calls) == wanted:
        signal.raise_signal(signal.SIGTERM)
    return real(*args)
loop.evaluate_held_out = evaluate
sys.argv[0] = "launch/train.py"
runpy.run_path("launch/train.py", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", [0, 2, 4])
def test_a_signal_during_an_evaluation_does_not_wait_for_its_end(launcher, finished, tmp_path, step):
    workdir = tmp_path / "run"
    command = [sys.executable, "-c", INTERRUPTED, str(step // 2 + 1), f"--config={runs.GRPO}", *runs.TINY]
    done = subprocess.run(
        [*command, f"--workdir={workdir}"], cwd=runs.ROOT, env=launcher.environment(), capture_output=True, text=True
    )
    assert done.returncode == 0 and not (workdir / "DONE").exists(), done.stderr[-3000:]
    assert f"[step {step}] held-out" not in done.stdout and runs.steps_written(workdir) == step - 1
    assert ("stopped and saved at step" if step else "stopped before the first step") in done.stdout + done.stderr
    output = launcher.run(workdir, *runs.TINY)
    assert f"[step {step}] held-out" in output
    if step < runs.STEPS:
        runs.assert_same_result(workdir, finished[0])
    assert runs.metrics_without_times(workdir) == runs.metrics_without_times(finished[0])
    assert runs.files(workdir / "hf") == runs.files(finished[0] / "hf")
    with Checkpoints(workdir / "checkpoints", read_only=True) as ours:
        with Checkpoints(finished[0] / "checkpoints", read_only=True) as theirs:
            assert ours.all_steps() == theirs.all_steps()


def test_a_signal_that_comes_while_the_processes_agree_is_not_lost(monkeypatch):
    def all_gather_objects(value):
        signal.raise_signal(signal.SIGTERM)
        return [value]

    monkeypatch.setattr(loop, "all_gather_objects", all_gather_objects)
    with GracefulStop() as stop:
        assert not loop.asked_to_stop(stop)  # as the other processes
        assert stop.requested and loop.asked_to_stop(stop)


@pytest.mark.slow
def test_exact_with_the_flags_of_a_user(tmp_path):
    """Without the quick compilation of the other tests: one run compiles what the other finds compiled."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    launcher = runs.Launcher(tmp_path / "compiled", flags="")
    launcher.run(whole, *runs.TINY)
    killed_after(launcher, parts, 3)
    launcher.run(parts, *runs.TINY)
    runs.assert_same_result(parts, whole)
