"""The main job on eight fake devices: the first steps give what one device gives."""

import shutil

import pytest

from rrft_jax.models.weights import load_params, save_params
from rrft_jax.pretrained import read_sizes, resolve_init
from rrft_jax.run.completions import read_completions
from rrft_jax.run.metrics import read_metrics
from tests.helpers.rounding import EPS, FACTOR, moved
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
MESHES = {
    "data": (),
    "fsdp_tensor": ("--config.mesh.data=2", "--config.mesh.fsdp=2", "--config.mesh.tensor=2"),
}


@pytest.fixture(scope="module")
def one_device(launcher, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("one") / "run"
    launcher.run(workdir, *OPTIONS)
    return workdir


@pytest.fixture(scope="module")
def slack(launcher, one_device, tmp_path_factory):
    """Moments and parameters: how far they end from `one_device`'s if every weight starts at a neighbouring float."""
    folder = tmp_path_factory.mktemp("moved")
    base, sizes = resolve_init("nano"), read_sizes("nano")
    shutil.copytree(base, folder / "init", ignore=shutil.ignore_patterns("*.safetensors*"))
    save_params(folder / "init", sizes, moved(load_params(base, sizes)), dtype="float32")
    launcher.run(folder / "run", *OPTIONS, f"--config.init={folder / 'init'}")
    return distances(folder / "run", one_device)


def distances(workdir, expected):
    """Largest relative distance of Adam's first moments, which are means of gradients, and of the parameters."""
    pairs = [(runs.checkpoint(workdir, step)[0], runs.checkpoint(expected, step)[0]) for step in range(1, STEPS + 1)]
    return {part: max(runs.relative_distance(*pair, part) for pair in pairs) for part in ("/mu/", "params/")}


@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES)
def test_eight_devices_give_what_one_gives(launcher, one_device, slack, tmp_path, mesh):
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
        assert mine["grad_norm"] == pytest.approx(one["grad_norm"], rel=FACTOR * slack["/mu/"])
        # The terms of the policy loss are of order 1 and cancel within each group, so their size is the measure.
        assert mine["loss"] == pytest.approx(one["loss"], abs=FACTOR * EPS)
        assert mine["num_tokens"] == one["num_tokens"]
    for part, found in distances(workdir, one_device).items():
        assert found <= FACTOR * slack[part], part
