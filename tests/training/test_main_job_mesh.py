"""The main job on eight fake devices: the first steps give what one device gives."""

import numpy as np
import pytest

from rrft_jax.run.completions import read_completions
from rrft_jax.run.metrics import read_metrics
from tests.training import runs

STEPS = 3
OPTIONS = (
    f"--config.train.steps={STEPS}",
    "--config.train.prompts=8",
    "--config.train.micro_batches=1",
    "--config.rollout.group=4",
    "--config.rollout.max_completion_length=24",
    "--config.eval.examples=0",
    "--config.checkpoint.every=1",
    f"--config.checkpoint.keep_last={STEPS}",
    "--config.log.completions_every=1",
    "--config.log.completions_prompts=8",
)
B1 = 0.9  # of Adam: after one step its first moment is (1 - B1) times the clipped gradient
MESHES = {
    "data": (),
    "fsdp_tensor": ("--config.mesh.data=2", "--config.mesh.fsdp=2", "--config.mesh.tensor=2"),
}


@pytest.fixture(scope="module")
def one_device(launcher, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("one") / "run"
    launcher.run(workdir, *OPTIONS)
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES)
def test_eight_devices_give_what_one_gives(launcher, one_device, tmp_path, mesh):
    workdir = tmp_path / "run"
    eight = runs.Launcher(launcher.cache, f"{launcher.flags} --xla_force_host_platform_device_count=8")
    output = eight.run(workdir, *OPTIONS, *MESHES[mesh])
    assert "on 8 cpu device(s)" in output

    for ours, theirs in zip(read_completions(workdir), read_completions(one_device), strict=True):
        assert ours["completions"] == theirs["completions"]
        assert (ours["step"], ours["prompt_id"], ours["rewards"]) == (
            theirs["step"],
            theirs["prompt_id"],
            theirs["rewards"],
        )
    ours, theirs = list(read_metrics(workdir)), list(read_metrics(one_device))
    assert max(record["grad_norm"] for record in theirs[1:]) > 0
    for mine, one in zip(ours[1:], theirs[1:], strict=True):
        assert mine["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-5)
        # The terms of the policy loss are of order 1 and cancel within each group, so their size is the measure.
        assert mine["loss"] == pytest.approx(one["loss"], rel=1e-5, abs=1e-6)
        assert mine["num_tokens"] == one["num_tokens"]
    for step in range(1, STEPS + 1):
        (mine, *_), (one, *_) = runs.checkpoint(workdir, step), runs.checkpoint(one_device, step)
        assert relative_distance(mine, one, "/mu/") < 1e-5
        assert relative_distance(mine, one, "params/") < 1e-5


def relative_distance(a: dict, b: dict, part: str) -> float:
    """Norm of the difference over the norm, of all arrays whose path holds `part`."""
    names = [name for name in a if part in name]
    assert names
    flat = [np.concatenate([x[name].ravel().astype(np.float64) for name in names]) for x in (a, b)]
    assert np.linalg.norm(flat[1]) > 0
    return np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[1])
