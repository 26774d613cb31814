"""HuggingFace directories: exact round trips, both name layouts, and errors that say everything at once."""

import json
from dataclasses import replace

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rrft_jax.models.files import INDEX, SINGLE
from rrft_jax.models.registry import read_config
from rrft_jax.models.weights import abstract_params, load_params, save_params
from tests.models.build import TINY, VISION

UNTIED = replace(TINY, tie_word_embeddings=False, vision=replace(VISION, depth=1))


def random_params(config, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: rng.normal(size=s.shape).astype(np.float32), abstract_params(config))


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def rewrite(directory, change):
    """Applies change(dict of tensors) -> dict to the single file of a directory."""
    save_file(change(load_file(directory / SINGLE)), directory / SINGLE)


@pytest.fixture
def saved(tmp_path):
    save_params(tmp_path, TINY, random_params(TINY), dtype="float32")
    return tmp_path


@pytest.mark.parametrize("config", [TINY, UNTIED], ids=["tied", "untied"])
@pytest.mark.parametrize("shard_bytes", [2**30, 20_000])
def test_float32_round_trip_is_exact(tmp_path, config, shard_bytes):
    params = random_params(config)
    save_params(tmp_path, config, params, dtype="float32", shard_bytes=shard_bytes)
    assert read_config(tmp_path) == config
    assert_equal(load_params(tmp_path), params)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert (tmp_path / INDEX).exists() == (len(files) > 1) == (shard_bytes < 2**30)


def test_bfloat16_is_stored_rounded_and_read_as_asked(tmp_path):
    params = random_params(TINY)
    save_params(tmp_path, TINY, params)
    assert {x.dtype for x in load_file(tmp_path / SINGLE).values()} == {np.dtype(ml_dtypes.bfloat16)}
    rounded = jax.tree.map(lambda x: x.astype(ml_dtypes.bfloat16).astype(np.float32), params)
    assert_equal(load_params(tmp_path), rounded)
    assert {x.dtype for x in jax.tree.leaves(load_params(tmp_path, dtype=ml_dtypes.bfloat16))} == {
        np.dtype(ml_dtypes.bfloat16)
    }


def test_the_index_lists_every_tensor_and_no_shard_exceeds_its_size(tmp_path):
    limit = 20_000
    save_params(tmp_path, UNTIED, random_params(UNTIED), dtype="float32", shard_bytes=limit)
    index = json.loads((tmp_path / INDEX).read_text())
    total = 0
    for file in tmp_path.glob("*.safetensors"):
        tensors = load_file(file)
        assert {name for name, home in index["weight_map"].items() if home == file.name} == set(tensors)
        size = sum(x.nbytes for x in tensors.values())
        assert size <= limit or len(tensors) == 1
        total += size
    assert index["metadata"]["total_size"] == total


def test_saving_again_leaves_no_stale_shard(tmp_path):
    params = random_params(TINY)
    save_params(tmp_path, TINY, params, dtype="float32", shard_bytes=20_000)
    save_params(tmp_path, TINY, params, dtype="float32")
    assert [p.name for p in tmp_path.glob("*.safetensors")] == [SINGLE] and not (tmp_path / INDEX).exists()
    assert_equal(load_params(tmp_path), params)


def test_published_names_and_shapes(tmp_path):
    save_params(tmp_path, UNTIED, random_params(UNTIED), dtype="float32")
    tensors = load_file(tmp_path / SINGLE)
    shapes = {
        "lm_head.weight": (61, 32),
        "model.embed_tokens.weight": (61, 32),
        "model.norm.weight": (32,),
        "model.layers.1.self_attn.k_proj.weight": (16, 32),
        "model.layers.1.self_attn.k_proj.bias": (16,),
        "model.layers.0.mlp.down_proj.weight": (32, 48),
        "visual.patch_embed.proj.weight": (16, 3, 2, 14, 14),
        "visual.blocks.0.attn.qkv.weight": (48, 16),
        "visual.merger.mlp.2.weight": (32, 64),
    }
    assert {name: tensors[name].shape for name in shapes} == shapes
    assert len(tensors) == 3 + 2 * 12 + 12 + 7


@pytest.mark.parametrize(
    "alias",
    [
        {"model.": "model.language_model.", "visual.": "model.visual."},
        {"model.": "language_model.model.", "visual.": "model.visual."},
    ],
    ids=["transformers5", "language_model.model"],
)
def test_other_names_in_use_are_read(saved, alias):
    expected = load_params(saved)

    def rename(tensors):
        out = {}
        for name, x in tensors.items():
            prefix = next((p for p in alias if name.startswith(p)), None)
            out[alias[prefix] + name.removeprefix(prefix) if prefix else name] = x
        return out

    rewrite(saved, rename)
    assert_equal(load_params(saved), expected)


def test_a_tied_head_stored_twice_and_inverse_frequencies_are_ignored(saved):
    expected = load_params(saved)
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32)}
    rewrite(saved, lambda t: {**t, "lm_head.weight": t["model.embed_tokens.weight"], **extra})
    assert_equal(load_params(saved), expected)


def test_one_error_lists_missing_unexpected_and_misshaped_tensors(saved):
    def spoil(tensors):
        del tensors["model.norm.weight"], tensors["visual.blocks.1.attn.qkv.bias"]
        tensors["model.layers.7.mlp.up_proj.weight"] = np.zeros((48, 32), np.float32)
        tensors["model.layers.0.self_attn.q_proj.weight"] = np.zeros((32, 31), np.float32)
        return tensors

    rewrite(saved, spoil)
    with pytest.raises(ValueError) as error:
        load_params(saved)
    for line in (
        f"{saved}: 4 tensors do not fit",
        "missing model.norm.weight",
        "missing visual.blocks.1.attn.qkv.bias",
        "unexpected model.layers.7.mlp.up_proj.weight [48, 32]",
        "misshaped model.layers.0.self_attn.q_proj.weight: file has [32, 31], config.json says [32, 32]",
    ):
        assert line in str(error.value)


def test_weights_of_another_size_are_not_listed_to_the_last(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 9}))
    with pytest.raises(ValueError, match="84 tensors do not fit; config.json and weights are not of") as error:
        load_params(saved)
    lines = str(error.value).splitlines()
    assert len(lines) == 14 and lines[-1] == "  and 72 more"


def test_an_index_that_names_no_file(saved):
    (saved / INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": 3}}))
    with pytest.raises(ValueError, match="the file of model.norm.weight is 3, not a name; download it again"):
        load_params(saved)


def test_an_untied_config_needs_its_head(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    with pytest.raises(ValueError, match="missing lm_head.weight"):
        load_params(saved)


@pytest.mark.parametrize("size", [0, 5, 5_000])
def test_a_truncated_file_is_named(saved, size):
    path = saved / SINGLE
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=f"{SINGLE}.*download it again"):
        load_params(saved)


def test_a_missing_shard_is_named(tmp_path):
    save_params(tmp_path, TINY, random_params(TINY), dtype="float32", shard_bytes=20_000)
    lost = sorted(tmp_path.glob("*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(FileNotFoundError, match=f"{lost.name}.*download"):
        load_params(tmp_path)


@pytest.mark.parametrize("text", ["{", "{}", '{"weight_map": 3}'])
def test_a_damaged_index_is_named(saved, text):
    (saved / INDEX).write_text(text)
    with pytest.raises(ValueError, match=INDEX):
        load_params(saved)


def test_no_weights_at_all(saved):
    (saved / SINGLE).unlink()
    with pytest.raises(FileNotFoundError, match=SINGLE):
        load_params(saved)


def test_weights_that_are_not_read_are_named(saved):
    (saved / SINGLE).rename(saved / "model-00001-of-00002.safetensors")
    with pytest.raises(FileNotFoundError, match="but 'model-00001-of-00002.safetensors': shards need their index"):
        load_params(saved)
    (saved / SINGLE).symlink_to(saved / "none")
    with pytest.raises(FileNotFoundError, match=f"{SINGLE} is a link to a file that is not there"):
        load_params(saved)


def test_a_number_that_would_become_infinite_is_named(saved):
    tensors = load_file(saved / SINGLE)
    name = "model.norm.weight"
    save_file(tensors | {name: np.full(tensors[name].shape, 1e300)}, saved / SINGLE)
    with pytest.raises(ValueError, match=f"{SINGLE}: .*{name} holds numbers that float32 makes infinite"):
        load_params(saved)


def test_another_architecture_is_refused(saved):
    (saved / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    with pytest.raises(ValueError, match="config.json: model_type is 'qwen3'"):
        load_params(saved)
