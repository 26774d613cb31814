"""config.json in the published flat layout and in transformers 5's nested one; errors name the file and the field."""

import copy
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from rrft_jax.models.qwen2_vl.config import config_from_dict, config_to_dict
from rrft_jax.models.registry import read_config, read_config_file
from rrft_jax.models.weights import abstract_params
from tests.models.build import TINY

FIXTURES = Path(__file__).parents[2] / "fixtures"
PUBLISHED = FIXTURES / "qwen2-vl-configs"
NESTED = FIXTURES / "golden" / "trl_grpo" / "model"


def published(name):
    return json.loads((PUBLISHED / f"{name}.json").read_text())


def test_published_2b():
    c = config_from_dict(published("2b"))
    assert (c.hidden_size, c.intermediate_size, c.num_layers) == (1536, 8960, 28)
    assert (c.num_heads, c.num_kv_heads, c.head_dim, c.mrope_section) == (12, 2, 128, (16, 24, 24))
    assert (c.vocab_size, c.tie_word_embeddings, c.rope_theta, c.rms_norm_eps) == (151936, True, 1e6, 1e-6)
    assert (c.image_token_id, c.video_token_id, c.eos_token_id) == (151655, 151656, 151645)
    v = c.vision
    assert (v.depth, v.embed_dim, v.num_heads, v.head_dim, v.hidden_size) == (32, 1280, 16, 80, 1536)
    assert (v.in_channels, v.patch_dim, v.spatial_merge_size, v.mlp_ratio) == (3, 1176, 2, 4)


@pytest.mark.parametrize(("name", "count"), [("2b", 2_208_985_600), ("7b", 8_291_375_616)])
def test_parameter_counts_of_the_published_sizes(name, count):
    leaves = jax.tree.leaves(abstract_params(config_from_dict(published(name))))
    assert sum(int(np.prod(x.shape)) for x in leaves) == count


def test_nested_layout():
    c = read_config(NESTED)
    assert (c.hidden_size, c.num_layers, c.num_heads, c.num_kv_heads, c.head_dim) == (128, 2, 2, 1, 64)
    assert (c.mrope_section, c.rms_norm_eps, c.rope_theta) == ((8, 12, 12), 1e-5, 1e6)
    assert (c.vocab_size, c.eos_token_id, c.pad_token_id, c.image_token_id) == (512, 505, 506, 510)
    assert (c.vision.embed_dim, c.vision.num_heads, c.vision.hidden_size) == (64, 4, 128)


@pytest.mark.parametrize(("outer", "inner", "tied"), [(False, True, True), (True, False, True), (False, False, False)])
def test_a_nested_config_is_tied_where_either_level_says_so(outer, inner, tied):
    """As in transformers 5: earlier releases wrote the flag into text_config alone."""
    raw = json.loads((NESTED / "config.json").read_text())
    raw["tie_word_embeddings"], raw["text_config"]["tie_word_embeddings"] = outer, inner
    assert config_from_dict(raw).tie_word_embeddings is tied


def test_what_is_written_is_read_back():
    for config in (TINY, config_from_dict(published("2b")), config_from_dict(published("7b"))):
        assert config_from_dict(json.loads(json.dumps(config_to_dict(config, "float32")))) == config


def drop(*path):
    def change(raw):
        for key in path[:-1]:
            raw = raw[key]
        del raw[path[-1]]

    return change


def put(value, *path):
    def change(raw):
        for key in path[:-1]:
            raw = raw[key]
        raw[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("hidden_size"), "hidden_size"),
        (drop("num_key_value_heads"), "num_key_value_heads"),
        (drop("vocab_size"), "vocab_size"),
        (drop("image_token_id"), "image_token_id"),
        (drop("vision_config"), "vision_config"),
        (drop("vision_config", "depth"), "depth"),
        (put("llama", "model_type"), "model_type is 'llama'"),
        (drop("model_type"), "model_type"),
        (put("gelu", "hidden_act"), "hidden_act"),
        (put(True, "use_sliding_window"), "use_sliding_window"),
        (put([16, 16, 16], "rope_scaling", "mrope_section"), "mrope_section .* 128"),
        (put(5, "num_key_value_heads"), "num_key_value_heads 5 must divide num_attention_heads 12"),
        (put(1280, "vision_config", "hidden_size"), "vision_config.hidden_size 1280"),
        (put(0, "num_key_value_heads"), "num_key_value_heads is 0"),
        (put("12", "num_attention_heads"), "num_attention_heads is '12'"),
        (put("yarn", "rope_scaling", "type"), "rope type 'yarn' is not supported"),
        (put("28", "num_hidden_layers"), "num_hidden_layers is '28', a positive whole number is wanted"),
        (put(True, "intermediate_size"), "intermediate_size is True"),
        (put(-1, "image_token_id"), "image_token_id is -1, a token id"),
        (put([], "vision_config"), "vision_config is .., an object is wanted"),
        (put("mrope", "rope_scaling"), "rope_scaling is 'mrope', an object is wanted"),
        (put([16, 24], "rope_scaling", "mrope_section"), "mrope_section is .16, 24., three whole numbers"),
        (put("1e-6", "rms_norm_eps"), "rms_norm_eps is '1e-6', a positive number"),
        (put(0, "vision_config", "num_heads"), "num_heads is 0"),
        (put(7, "vision_config", "num_heads"), "vision_config.num_heads 7 must divide embed_dim 1280"),
    ],
)
def test_errors_name_file_and_field(change, message):
    raw = copy.deepcopy(published("2b"))
    change(raw)
    with pytest.raises(ValueError, match=f"config.json: .*{message}"):
        config_from_dict(raw)


def test_no_directory_and_no_json(tmp_path):
    with pytest.raises(FileNotFoundError, match="config.json not found"):
        read_config(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json: not valid JSON"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="config.json: holds no JSON object"):
        read_config(tmp_path)
    with pytest.raises(ValueError, match="sizes.json: cannot be read .*; give the config.json"):
        read_config_file(tmp_path / "sizes.json")


def test_an_empty_text_config_is_none_at_all():
    raw = copy.deepcopy(published("2b"))
    assert config_from_dict({**raw, "text_config": None}) == config_from_dict(raw)
