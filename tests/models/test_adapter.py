"""Adapters in PEFT's format: there and back, and one line for each that does not belong here."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rrft_jax.models.adapter import (
    CONFIG,
    WEIGHTS,
    check_files,
    is_adapter_directory,
    named_base,
    read_adapter,
    save_adapter,
)
from rrft_jax.models.files import values_digest
from rrft_jax.models.lora import LoRA
from rrft_jax.models.paths import from_paths, leaf_paths
from rrft_jax.models.weights import load_params, save_params, tensor_names
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.models.build import TINY, VISION, tiny_params
from tests.models.test_lora import BOTH, merged, random_adapter

NAMES = tensor_names(TINY)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    directory = tmp_path_factory.mktemp("base")
    save_params(directory, TINY, tiny_params(), dtype="float32")
    return directory


@pytest.fixture
def adapter(base, tmp_path):
    save_adapter(tmp_path / "adapter", from_paths(random_adapter()), base)
    return tmp_path / "adapter"


def change(adapter, **fields):
    settings = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps({**settings, **fields}))


def assert_same_leaves(found, expected):
    assert found.keys() == expected.keys()
    for path, x in expected.items():
        assert found[path].dtype == np.float32
        np.testing.assert_array_equal(found[path], x, err_msg=path)


@pytest.mark.parametrize("lora", [BOTH, LoRA(2, 3.5, ("q", "down")), LoRA(4, 8.0, ("fc.",), ("vision",))])
def test_there_and_back(base, tmp_path, lora):
    leaves = random_adapter(lora)
    save_adapter(tmp_path, from_paths({**leaf_paths(tiny_params()), **leaves}), base)
    assert_same_leaves(read_adapter(tmp_path, TINY, base), leaves)
    settings = json.loads((tmp_path / CONFIG).read_text())
    assert (settings["r"], settings["lora_alpha"]) == (lora.rank, lora.alpha) and named_base(tmp_path) == str(base)


def test_names_and_shapes_are_those_of_peft(adapter):
    tensors = load_file(adapter / WEIGHTS)
    shapes = {
        "base_model.model.model.language_model.layers.1.mlp.down_proj.lora_A.weight": (3, 48),
        "base_model.model.model.language_model.layers.0.self_attn.k_proj.lora_B.weight": (16, 3),
        "base_model.model.model.visual.blocks.1.attn.qkv.lora_B.weight": (48, 3),
        "base_model.model.model.visual.merger.mlp.2.lora_A.weight": (3, 64),
    }
    assert {name: tensors[name].shape for name in shapes} == shapes
    assert len(tensors) == 2 * (7 * 2 + 4 * 2 + 2)


def test_older_module_names_and_rank_stabilised_scales_are_read(adapter, base):
    tensors = load_file(adapter / WEIGHTS)

    def old(name):
        return name.replace("model.model.language_model", "model.model").replace("model.model.visual", "model.visual")

    save_file({old(name): x for name, x in tensors.items()}, adapter / WEIGHTS)
    change(adapter, use_rslora=True)
    leaves = random_adapter()
    found = read_adapter(adapter, TINY, base)
    np.testing.assert_allclose(found.pop("language/layers/q/lora_scale"), 6.0 / 3**0.5, rtol=1e-6)
    np.testing.assert_array_equal(found["vision/merger/fc2/lora_a"], leaves["vision/merger/fc2/lora_a"])


def test_merged_while_reading_and_while_writing(adapter, base, tmp_path):
    leaves = random_adapter()
    expected = leaf_paths(merged(tiny_params(), leaves))
    read = leaf_paths(load_params(base, adapter=read_adapter(adapter, TINY, base)))
    save_params(tmp_path / "hf", TINY, from_paths({**leaf_paths(tiny_params()), **leaves}), dtype="float32")
    written = leaf_paths(load_params(tmp_path / "hf"))
    assert read.keys() == written.keys() == expected.keys()
    slack = rounding(lambda *inputs: leaf_paths(merged(*inputs)), tiny_params(), leaves)
    for ours in (read, written):
        assert_same_but_rounding(dict(ours), expected, slack)


def test_the_fingerprint_is_of_the_weights_not_of_the_files(base, tmp_path):
    save_params(tmp_path / "cut", TINY, load_params(base), dtype="float32", shard_bytes=20_000)
    assert values_digest(tmp_path / "cut", NAMES) == values_digest(base, NAMES)
    save_params(tmp_path / "other", TINY, tiny_params(seed=1), dtype="float32")
    assert values_digest(tmp_path / "other", NAMES) != values_digest(base, NAMES)


def one_line(adapter, config, base, *words):
    with pytest.raises(ValueError) as error:
        read_adapter(adapter, config, base)
    text = str(error.value)
    assert "\n" not in text and all(word in text for word in words), text


def test_another_base_of_the_same_sizes(adapter, base, tmp_path):
    save_params(tmp_path / "other", TINY, tiny_params(seed=1), dtype="float32")
    one_line(
        adapter, TINY, tmp_path / "other", f"{adapter / WEIGHTS}: an adapter of another base than", f"names '{base}'",
        "the weights are others", "give its own base as init",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (replace(TINY, intermediate_size=64), "model.layers.0.mlp.down_proj.lora_a is [3, 48], [3, 64] wanted"),
        (replace(TINY, num_layers=3), "model.layers.2.mlp.down_proj.lora_a is missing"),
        (replace(TINY, num_layers=1), "lora_a belongs to no linear layer of the base"),
        (replace(TINY, vision=replace(VISION, mlp_ratio=3)), "visual.blocks.0.mlp.fc1.lora_b is [32, 3], [48, 3]"),
    ],
)
def test_another_base_of_other_sizes(adapter, base, config, problem):
    one_line(adapter, config, base, "an adapter of another base", "tensors do not fit", problem, "give its own base")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (dict(peft_type="LOHA"), "peft_type='LOHA'"),
        (dict(r=0), "r=0"),
        (dict(use_dora=True), "use_dora is not supported; merge the adapter with PEFT"),
        (dict(bias="all"), "bias is not supported"),
        (dict(init_lora_weights="pissa_niter_4"), "init_lora_weights='pissa_niter_4' is not supported; merge"),
        (dict(layers_to_transform=[0]), "layers_to_transform is not supported"),
        (dict(rank_pattern={"q_proj": 4}, modules_to_save=["lm_head"]), "modules_to_save, rank_pattern is not"),
    ],
)
def test_other_kinds_of_adapter(adapter, base, fields, problem):
    change(adapter, **fields)
    one_line(adapter, TINY, base, str(adapter / CONFIG), problem)


@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_a_damaged_config(adapter, base, text):
    (adapter / CONFIG).write_text(text)
    one_line(adapter, TINY, base, f"{adapter / CONFIG}: not the config of a LoRA adapter", "write it with PEFT again")


def test_damaged_weights(adapter, base):
    path = adapter / WEIGHTS
    path.write_bytes(path.read_bytes()[:-9])
    one_line(adapter, TINY, base, f"{path}: damaged safetensors file", "download it again")


def test_an_adapter_without_one_of_its_files(adapter, base):
    weights, config = adapter / WEIGHTS, adapter / CONFIG
    weights.rename(adapter / "adapter_model.bin")
    with pytest.raises(FileNotFoundError, match=f"{weights} not found: .*with PEFT again, adapter_model.bin is not"):
        read_adapter(adapter, TINY, base)
    (adapter / "adapter_model.bin").unlink()
    for look in (lambda: read_adapter(adapter, TINY, base), lambda: check_files(adapter)):
        with pytest.raises(FileNotFoundError, match=f"{weights} not found: .*; copy it there as well$"):
            look()
    config.unlink()
    with pytest.raises(FileNotFoundError, match=f"{config} not found: give the folder that PEFT saved, with"):
        read_adapter(adapter, TINY, base)


def test_a_home_directory_may_be_written_short(adapter, base, monkeypatch):
    monkeypatch.setenv("HOME", str(adapter.parent))
    assert is_adapter_directory("~/adapter") and named_base("~/adapter") == str(base)
    assert_same_leaves(read_adapter("~/adapter", TINY, base), random_adapter())
