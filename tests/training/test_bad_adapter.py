"""An adapter that cannot be used ends a start at once: one line with the file and what to do."""

import json
import shutil

import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.models.adapter import CONFIG, WEIGHTS, save_adapter
from rrft_jax.models.lora import LoRA, init_adapter
from rrft_jax.models.paths import from_paths, leaf_paths
from rrft_jax.models.weights import abstract_params, load_params, save_params
from rrft_jax.pretrained import ASSETS, adapter_of, read_sizes, resolve_init
from rrft_jax.training.loop import train
from tests.training import runs

NANO, SIZES = ASSETS / "nano", read_sizes("nano")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good") / "adapter"
    leaves = init_adapter(leaf_paths(abstract_params(SIZES)), LoRA(4, 8.0), 0)
    save_adapter(folder, from_paths(leaves), NANO)
    return folder


@pytest.fixture
def adapter(good, tmp_path):
    shutil.copytree(good, tmp_path / "adapter")
    return tmp_path / "adapter"


def without_weights(adapter):
    (adapter / WEIGHTS).unlink()
    return adapter / WEIGHTS, "not found", "copy it there as well"


def without_config(adapter):
    (adapter / CONFIG).unlink()
    return adapter / CONFIG, "", "both"


def cut_off(adapter):
    path = adapter / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1000])
    return path, "damaged safetensors file", "download it again"


def of_another_base(adapter):
    """The same sizes, other weights."""
    other = adapter.parent / "other"
    shutil.copytree(NANO, other)
    params = load_params(NANO)
    params["language"]["norm"]["scale"] = params["language"]["norm"]["scale"] + 1
    save_params(other, SIZES, params)
    settings = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps({**settings, "base_model_name_or_path": str(other)}))
    return adapter / WEIGHTS, f"an adapter of another base than {other}", "give its own base as init"


DAMAGES = [without_weights, without_config, cut_off, of_another_base]


def one_line(config, workdir, *parts):
    with pytest.raises((ValueError, OSError)) as error:
        train(config, workdir)
    text = str(error.value)
    assert "\n" not in text and all(str(part) in text for part in parts), text
    assert not (workdir / "config.json").exists()  # the corrected command may use the same workdir


@pytest.mark.parametrize("damage", DAMAGES)
def test_as_init(adapter, tmp_path, damage):
    one_line(load_config(f"{runs.GRPO},init={adapter}"), tmp_path / "run", *damage(adapter))


@pytest.mark.parametrize("damage", DAMAGES)
def test_as_the_adapter_to_go_on_training(adapter, tmp_path, damage):
    file, what, remedy = damage(adapter)
    base = tmp_path / "other" if damage is of_another_base else NANO
    config = load_config(f"{runs.GRPO},init={base}")
    config.lora.update({"rank": 4, "alpha": 8.0, "adapter": str(adapter)})
    one_line(
        config, tmp_path / "run", file, what, "give the folder that PEFT saved" if damage is without_config else remedy
    )


def test_a_home_directory_written_short_is_not_an_adapter_left_out(adapter, monkeypatch):
    monkeypatch.setenv("HOME", str(adapter.parent))
    assert resolve_init("~/adapter") == NANO
    assert adapter_of("~/adapter", NANO, SIZES)
