"""One run in two real processes of four fake devices each: the result of one process, and what a lost one costs."""

import os
import shlex
import shutil
import signal
import time
from pathlib import Path

import jax
import pytest

from rrft_jax.models.adapter import WEIGHTS
from rrft_jax.models.files import open_tensors
from rrft_jax.models.paths import leaf_paths
from rrft_jax.models.weights import load_params
from rrft_jax.parallel import processes
from rrft_jax.run.completions import read_completions
from rrft_jax.run.metrics import read_metrics
from tests.training import runs
from tests.training.test_loop import SFT, records  # noqa: F401

STEPS = 3
# Four prompts on eight devices: groups are split over two rows. Four evaluation prompts: process 1 holds padding alone.
OPTIONS = (
    *runs.TINY,
    f"--config.train.steps={STEPS}",
    "--config.rollout.max_completion_length=16",
    "--config.checkpoint.every=1",
    "--config.log.completions_every=1",
)
LIMIT_S = 120  # for a run to end once a process is lost: heartbeat and patience are far less


def launcher(base, devices):
    return runs.Launcher(base.cache, f"{base.flags} --xla_force_host_platform_device_count={devices}")


@pytest.fixture(scope="module")
def one(launcher_of_all, tmp_path_factory):
    """(workdir, output) of one process with eight devices."""
    workdir = tmp_path_factory.mktemp("one") / "run"
    return workdir, launcher(launcher_of_all, 8).run(workdir, *OPTIONS)


@pytest.fixture(scope="module")
def launcher_of_all(request):
    return request.getfixturevalue("launcher")


def assert_close_result(workdir, expected):
    """The same completions, and metrics and parameters that differ by rounding alone."""
    for ours, theirs in zip(read_completions(workdir), read_completions(expected), strict=True):
        for name in ("step", "prompt_id", "example_id", "prompt", "completions", "rewards", "reward"):
            assert ours[name] == theirs[name], name
    for mine, other in zip(read_metrics(workdir), read_metrics(expected), strict=True):
        assert mine.keys() == other.keys()
        for name in mine:
            if "sampling_logp_difference" in name:  # what rounding itself does between sampler and scorer
                assert max(mine[name], other[name]) < 1e-3, (mine["step"], name)
            elif name not in runs.TIMES and not name.startswith("timing/"):
                assert mine[name] == pytest.approx(other[name], rel=1e-4, abs=1e-5, nan_ok=True), (mine["step"], name)
    (mine, host, step), (other, other_host, other_step) = runs.checkpoint(workdir), runs.checkpoint(expected)
    assert (step, host) == (other_step, other_host)
    # Rounding moves them by 1e-7 and 1e-6, and single numbers more: Adam divides by gradients that are rounding alone.
    assert runs.relative_distance(mine, other, "params/") < 1e-5
    assert runs.relative_distance(mine, other, "/mu/") < 1e-4


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(launcher_of_all, one, tmp_path):
    workdir = tmp_path / "run"
    output = launcher(launcher_of_all, 4).run(workdir, *OPTIONS, "--processes=2")
    expected, their_output = one
    assert "on 8 cpu device(s) of 2 processes" in output and "each group split over 2 rows" in their_output
    assert_close_result(workdir, expected)
    assert max(record["grad_norm"] for record in list(read_metrics(workdir))[1:]) > 0
    # Process 0 alone writes and speaks.
    assert len((workdir / "sessions.jsonl").read_text().splitlines()) == 1
    for said in ("held-out greedy accuracy", f"step {STEPS}/{STEPS} ", "written to"):
        assert output.count(said) == their_output.count(said) > 0, said
    assert {p.name for p in workdir.iterdir()} == {p.name for p in expected.iterdir()}
    ours, theirs = (leaf_paths(load_params(folder / "hf")) for folder in (workdir, expected))
    assert ours.keys() == theirs.keys()
    # Stored in bfloat16, so a last bit may be rounded to either side; the run moves them by a percent.
    assert runs.relative_distance(ours, theirs, "/") < 1e-3


@pytest.mark.slow
def test_a_lost_process_ends_the_run_which_resumes_on_other_devices(launcher_of_all, one, tmp_path):
    workdir = tmp_path / "run"
    two = launcher(launcher_of_all, 4)
    mesh = ("--config.mesh.data=4", "--config.mesh.fsdp=2")
    parent = two.start(workdir, *OPTIONS, *mesh, "--processes=2", "--heartbeat_timeout=20")
    try:
        deadline = time.monotonic() + runs.LIMIT_S
        while not (workdir / "checkpoints" / "1").exists():
            assert parent.poll() is None and time.monotonic() < deadline, runs.log_file(workdir).read_text()[:6000]
            time.sleep(0.05)
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        os.kill(int(children[1]), signal.SIGKILL)
        begin = time.monotonic()
        code = parent.wait(LIMIT_S)
    finally:
        parent.send_signal(signal.SIGTERM) if parent.poll() is None else None
    took = time.monotonic() - begin
    output = runs.log_file(workdir).read_text()
    assert code == 2 and took < LIMIT_S
    assert "error: process 1 of 2 was lost (killed by SIGKILL)" in output
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    hint = shlex.split(output.rstrip().splitlines()[-1])
    assert "--processes=2" in hint and f"--workdir={workdir}" in hint and not (workdir / "DONE").exists()

    other = tmp_path / "other"
    shutil.copytree(workdir, other)
    fewer = ["--config.mesh.data=1", "--config.mesh.fsdp=2", "--config.model.remat=none"]
    for folder, how, extra in ((workdir, two, [*mesh, "--processes=2"]), (other, launcher(launcher_of_all, 2), fewer)):
        output = how.run(folder, *OPTIONS, *extra)
        assert f"resuming {folder} at step" in output
        assert ("last bits may differ: config.mesh.data: 4 -> 1" in output) == (extra is fewer)
        assert_close_result(folder, one[0])


@pytest.mark.slow
def test_a_bad_picture_is_said_once(launcher_of_all, records, tmp_path):  # noqa: F811
    """Four prompts on eight rows: both processes make all of them, and neither can."""
    folder = tmp_path / "records"
    shutil.copytree(records, folder)
    (folder / "0.png").write_bytes((folder / "0.png").read_bytes()[:-200])  # its size can be read, so it is found late
    config = f"configs/cot_sft.py:counting,runlocal,data={folder}"
    output = launcher(launcher_of_all, 4).run(tmp_path / "run", *SFT, "--processes=2", config=config, code=2)
    (line,) = (line for line in output.splitlines() if "error: " in line)
    assert line.startswith("error: batch 0 could not be made: example") and "0.png" in line
    assert line.endswith("replace the file or remove the record")
    assert output.count("nothing is saved yet; to start again") == 1


def test_what_an_error_of_the_runtime_means(monkeypatch):
    monkeypatch.setattr(processes, "_joined", lambda: True)
    lost = "FAILED_PRECONDITION: Buffer Definition Event: Gloo all-reduce failed: Connection closed by peer"
    assert processes.is_loss(jax.errors.JaxRuntimeError(lost))
    for own in ("RESOURCE_EXHAUSTED: Out of memory allocating 5 bytes", "INVALID_ARGUMENT: no", "UNIMPLEMENTED: no"):
        assert not processes.is_loss(jax.errors.JaxRuntimeError(own))
    assert not processes.is_loss(ValueError(lost))


@pytest.mark.parametrize(
    ("flag", "words"),
    [("--dry-run", "--dry-run plans for the devices of one"), ("--process_id=0", "--process_id is what --processes")],
)
def test_flags_of_one_process_beside_processes_are_one_line(launcher_of_all, tmp_path, flag, words):
    output = launcher_of_all.run(tmp_path / "run", "--processes=2", flag, code=2)
    assert output.splitlines()[-1].startswith(f"error: {words}") and "Traceback" not in output


def test_an_unreachable_coordinator_is_one_line(launcher_of_all, tmp_path):
    options = ("--coordinator_address=127.0.0.1:1", "--num_processes=2", "--process_id=1", "--start_timeout=1")
    output = launcher_of_all.run(tmp_path / "run", *options, code=2)
    lines = [line for line in output.splitlines() if "error" in line]
    assert len(lines) == 1 and lines[0].startswith("error: --coordinator_address=127.0.0.1:1 cannot be reached")
    assert "start process 0 there" in lines[0] and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_completions_in_flight_go_on_in_one_process(launcher_of_all, tmp_path):
    """One step ahead: what two processes drew, with groups split over rows, is trained on by one with half the rows.
    With LoRA, whose adapter both save and one reads."""
    workdir, other = tmp_path / "run", tmp_path / "other"
    options = (
        *OPTIONS,
        "--config.rollout.ahead=1",
        "--config.loss.surrogate=clipped",
        "--config.checkpoint.keep_last=3",
        "--config.lora.rank=2",
    )
    launcher(launcher_of_all, 4).run(workdir, *options, "--processes=2")
    shutil.copytree(workdir, other)
    (other / "DONE").unlink()
    shutil.rmtree(other / "checkpoints" / str(STEPS))
    shutil.rmtree(other / "adapter")
    assert f"resuming {other} at step {STEPS - 1}" in launcher(launcher_of_all, 4).run(other, *options)
    assert_close_result(other, workdir)
    ours, theirs = (open_tensors(folder / "adapter", single=WEIGHTS) for folder in (workdir, other))
    assert ours.keys() == theirs.keys() and ours
    assert runs.relative_distance(*({name: t.read() for name, t in x.items()} for x in (ours, theirs)), "lora") < 1e-5
