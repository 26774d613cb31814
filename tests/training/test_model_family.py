"""Models of other families, one from a package outside this one: trained, evaluated and exported by the launcher."""

from dataclasses import replace

import numpy as np
import pytest

from rrft_jax.models.adapter import read_adapter
from rrft_jax.models.paths import leaf_paths
from rrft_jax.models.registry import read_config
from rrft_jax.models.weights import load_params
from rrft_jax.run.metrics import read_metrics
from tests.helpers.toy_model import installed_toy
from tests.models.families import FIELDS, write_directory

OPTIONS = (
    "--config.train.steps=2", "--config.train.prompts=4", "--config.train.micro_batches=1", "--config.loss.beta=0",
    "--config.rollout.group=4", "--config.rollout.max_completion_length=12", "--config.buckets.prompt=136",
    "--config.eval.examples=1", "--config.eval.batch=1", "--config.optimizer.schedule.peak=1e-2",
)  # fmt: skip


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    with installed_toy(tmp_path_factory.mktemp("toy")) as found:
        yield found


def letters(folder):
    """A reward that tells completions of random weights from one another."""
    file = folder / "letters.py"
    file.write_text("def letters(completions, **columns):\n    return [len(set(x)) / 10 for x in completions]\n")
    return f"--reward={file}:letters=1.0"


def test_a_family_from_outside_is_trained_evaluated_and_exported(toy, launcher, tmp_path):
    site, directory = toy
    options = (f"--config.init={directory}", letters(tmp_path), *OPTIONS)
    replace(launcher, packages=(site,)).run(tmp_path / "run", *options)
    first, *steps = read_metrics(tmp_path / "run")
    assert "eval/accuracy" in first and [record["step"] for record in steps] == [1, 2]
    assert all(np.isfinite(record["loss"]) and record["grad_norm"] > 0 for record in steps)

    exported = tmp_path / "run" / "hf"
    assert read_config(exported) == read_config(directory)
    before, after = (leaf_paths(load_params(folder)) for folder in (directory, exported))
    assert before.keys() == after.keys() and "vision/patch_embed/proj/kernel" in after
    assert all((before[path] != after[path]).any() for path in after if "/kernel" in path), "the update reaches all"


@pytest.mark.slow
@pytest.mark.parametrize("model_type", FIELDS)
def test_a_published_family_raises_its_training_reward(model_type, launcher, tmp_path):
    """GRPO on all parameters: completions get more different letters, every kernel moves, and the export is read."""
    directory = write_directory(tmp_path / "model", model_type)
    more = ("--config.train.steps=16", "--config.train.prompts=8", "--config.rollout.group=8")
    launcher.run(tmp_path / "run", f"--config.init={directory}", letters(tmp_path), *OPTIONS, *more)
    _, *steps = read_metrics(tmp_path / "run")
    assert all(np.isfinite(record["loss"]) and record["grad_norm"] > 0 for record in steps) and len(steps) == 16
    reward = [record["rewards/letters/mean"] for record in steps]
    assert np.mean(reward[-4:]) > np.mean(reward[:4]) + 0.08, reward
    exported = tmp_path / "run" / "hf"
    assert read_config(exported) == read_config(directory)
    before, after = (leaf_paths(load_params(folder)) for folder in (directory, exported))
    assert all((before[path] != after[path]).any() for path in after if "/kernel" in path), "the update reaches all"


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "kept"), [("qwen2_5_vl", "float32"), ("qwen3_vl", "nf4")])
def test_a_published_family_is_trained_by_adapters(model_type, kept, launcher, tmp_path):
    """SFT of adapters on decoder and tower, in one family on a base in 4 bits."""
    directory = write_directory(tmp_path / "model", model_type)
    options = [option for option in OPTIONS if "loss" not in option and "rollout" not in option]
    lora = ("--config.lora.rank=2", "--config.lora.parts='language','vision'", f"--config.model.frozen_dtype={kept}")
    config = "configs/cot_sft.py:counting,runlocal"
    launcher.run(tmp_path / "run", f"--config.init={directory}", *options, *lora, config=config)
    _, *steps = read_metrics(tmp_path / "run")
    assert all(np.isfinite(record["loss"]) and record["grad_norm"] > 0 for record in steps) and len(steps) == 2
    leaves = read_adapter(tmp_path / "run" / "adapter", read_config(directory), directory)
    assert all(np.abs(leaf).max() > 0 for path, leaf in leaves.items() if path.endswith("lora_b"))
    assert {path.split("/")[0] for path in leaves} == {"language", "vision"}
    assert read_config(tmp_path / "run" / "hf") == read_config(directory)
