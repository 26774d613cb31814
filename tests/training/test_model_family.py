"""A model of somebody's own family, in a package outside this one: trained, evaluated and exported by the launcher."""

from dataclasses import replace

import numpy as np
import pytest

from rrft_jax.models.paths import leaf_paths
from rrft_jax.models.registry import read_config
from rrft_jax.models.weights import load_params
from rrft_jax.run.metrics import read_metrics
from tests.helpers.toy_model import installed_toy

OPTIONS = (
    "--config.train.steps=2", "--config.train.prompts=4", "--config.train.micro_batches=1", "--config.loss.beta=0",
    "--config.rollout.group=4", "--config.rollout.max_completion_length=12", "--config.buckets.prompt=136",
    "--config.eval.examples=1", "--config.eval.batch=1", "--config.optimizer.schedule.peak=1e-2",
)  # fmt: skip


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    with installed_toy(tmp_path_factory.mktemp("toy")) as found:
        yield found


def test_a_family_from_outside_is_trained_evaluated_and_exported(toy, launcher, tmp_path):
    site, directory = toy
    letters = tmp_path / "letters.py"  # a reward that tells completions of random weights from one another
    letters.write_text("def letters(completions, **columns):\n    return [len(set(x)) / 10 for x in completions]\n")
    options = (f"--config.init={directory}", f"--reward={letters}:letters=1.0", *OPTIONS)
    replace(launcher, packages=(site,)).run(tmp_path / "run", *options)
    first, *steps = read_metrics(tmp_path / "run")
    assert "eval/accuracy" in first and [record["step"] for record in steps] == [1, 2]
    assert all(np.isfinite(record["loss"]) and record["grad_norm"] > 0 for record in steps)

    exported = tmp_path / "run" / "hf"
    assert read_config(exported) == read_config(directory)
    before, after = (leaf_paths(load_params(folder)) for folder in (directory, exported))
    assert before.keys() == after.keys() and "vision/patch_embed/proj/kernel" in after
    assert all((before[path] != after[path]).any() for path in after if "/kernel" in path), "the update reaches all"
