"""What holds for every family, on tiny random models; that they are the published ones, their test_parity shows."""

import copy
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrft_jax.models.adapter import read_adapter, save_adapter
from rrft_jax.models.cache import completion_positions
from rrft_jax.models.head import token_log_probs
from rrft_jax.models.lora import LoRA, init_adapter, target_modules
from rrft_jax.models.paths import from_paths, leaf_paths
from rrft_jax.models.published_sizes import SIZES, size_file
from rrft_jax.models.registry import family_of, make_model, read_config, read_config_file, sizes_from_dict
from rrft_jax.models.score import score
from rrft_jax.models.weights import abstract_params, load_params
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.models.build import (
    Visual,
    pack,
    quick_jit,
    random_completions,
    random_patches,
    select_prompts,
    text,
    tiny_params,
)
from tests.models.families import FIELDS, tiny, write_directory

G, C = 2, 3
# As the index files of the published directories count them; that of qwen3-vl-32b was not at hand.
COUNTS = {
    "2b": 2_208_985_600, "7b": 8_291_375_616, "qwen2.5-vl-3b": 3_754_622_976, "qwen2.5-vl-7b": 8_292_166_656,
    "qwen2.5-vl-32b": 33_452_718_336, "qwen2.5-vl-72b": 73_410_777_344, "qwen3-vl-2b": 2_127_532_032,
    "qwen3-vl-4b": 4_437_815_808, "qwen3-vl-8b": 8_767_123_696,
}  # fmt: skip


def prompts_for(sizes, seed=0, **padding):
    """Pictures of several sizes, one large enough for its windows to be attended apart; text alone."""
    rng = np.random.default_rng(seed)
    prompts = [
        [text(rng, 3), Visual(4, 2), text(rng, 2), Visual(6, 10), text(rng, 4)],
        [Visual(2, 6), text(rng, 3)],
        [text(rng, 7)],
    ]
    return pack(prompts, [random_patches(rng, p, sizes.vision.patch_dim) for p in prompts], sizes, **padding)


@functools.cache
def problem(model_type):
    sizes = tiny(model_type)
    prompts = prompts_for(sizes)
    tokens, mask = random_completions(1, len(prompts.tokens), G, C)
    weights = np.random.default_rng(2).normal(size=tokens.shape).astype(np.float32)
    model = make_model(sizes)

    def objective(params, prompts, tokens, mask, weights):
        log_probs, _ = score(model, params, prompts, tokens, mask, None)
        log_probs = jnp.where(mask, log_probs, 0)
        return jnp.sum(weights * log_probs), log_probs

    gradient = quick_jit(jax.value_and_grad(objective, has_aux=True))
    return model, gradient, (tiny_params(sizes), prompts, tokens, mask, weights)


@pytest.mark.parametrize("model_type", FIELDS)
def test_shared_prompts_padding_and_cache_change_nothing(model_type):
    """A prompt that its completions share is one that each has alone; more padding of every kind, and pictures in other
    slots; and token by token, through the cache, the same log-probabilities."""
    model, gradient, (params, prompts, tokens, mask, weights) = problem(model_type)
    (value, scores), grads = expected = gradient(params, prompts, tokens, mask, weights)
    slack = rounding(gradient, params, prompts, tokens, mask, weights, times=3)
    dead = [path for path, g in leaf_paths(grads).items() if not np.abs(g).max() > 0]
    assert not dead

    padded = prompts_for(model.config, extra=(3, 1, 4), skip=(0, 2))
    repeated = select_prompts(padded, np.repeat(np.arange(len(tokens)), G))
    (value, alone), grads = gradient(params, repeated, *(x.reshape(-1, 1, C) for x in (tokens, mask, weights)))
    assert_same_but_rounding(((value, alone.reshape(scores.shape)), grads), expected, slack)

    @quick_jit
    def decode(params, prompts, tokens, mask):
        prefix = model.prefix_of(params, prompts)
        hidden, suffix = [prefix.last_hidden[:, None].repeat(G, 1)], model.empty_suffix(len(tokens), G, C)
        for t in range(C - 1):
            one = slice(t, t + 1)
            positions = completion_positions(prefix.next_position + t, G, 1)
            new, suffix = model.extend(params, tokens[..., one], positions, mask[..., one], prefix, suffix, t)
            hidden.append(new[:, :, 0])
        return jnp.where(mask, token_log_probs(jnp.stack(hidden, 2), model.output_table(params), tokens)[0], 0)

    assert_same_but_rounding(decode(params, prompts, tokens, mask), scores, slack[0][1])


@pytest.mark.parametrize("model_type", FIELDS)
def test_with_remat_offload_inputs_of_layers_wait_on_the_host(model_type):
    """Where full keeps them on the device: in the scans over blocks, prompt and completions. Nothing else moves."""
    model, _, (params, prompts, tokens, mask, _) = problem(model_type)

    def objective(params, remat):
        model = make_model(tiny(model_type), remat=remat)
        return jnp.sum(score(model, params, prompts, tokens, mask, None)[0])

    kept = {}
    for remat in ("full", "offload"):
        traced = jax.make_jaxpr(jax.grad(functools.partial(objective, remat=remat)))(params)
        kept[remat] = [
            (scan.params["length"], x.aval.shape)
            for scan in traced.jaxpr.eqns if scan.primitive.name == "scan"
            for x in scan.outvars
            if (x.aval.memory_space == jax.memory.Space.Host) == (remat == "offload")
        ]  # fmt: skip
    c, (B, P) = model.config, prompts.tokens.shape
    decoder = {(c.num_layers, (c.num_layers, *x, c.hidden_size)) for x in ((B, 1, P), (B, G, C - 1))}
    tower = {(n, shape) for n, shape in kept["offload"] if n == c.vision.depth and shape[-1] == c.vision.embed_dim}
    assert decoder <= set(kept["offload"]) <= set(kept["full"]) and tower and len(kept["offload"]) == 3


@pytest.mark.parametrize("model_type", FIELDS)
def test_one_program_serves_every_picture_of_a_bucket(model_type):
    sizes = tiny(model_type)
    model, rng = make_model(sizes), np.random.default_rng(0)
    run = quick_jit(lambda params, prompts: model.prefix_of(params, prompts).last_hidden)
    for h, w in ((8, 8), (4, 16), (2, 32), (6, 10)):
        prompt = [[text(rng, 3), Visual(h, w), text(rng, 20 - h * w // 4)]]
        patches = [random_patches(rng, prompt[0], sizes.vision.patch_dim)]
        assert np.isfinite(run(tiny_params(sizes), pack(prompt, patches, sizes, extra=(0, 0, 64 - h * w)))).all()
    assert run._cache_size() == 1


@pytest.mark.parametrize("model_type", FIELDS)
def test_files_and_adapters_go_out_and_in(model_type, tmp_path):
    directory = write_directory(tmp_path / "base", model_type)
    sizes, params = read_config(directory), load_params(directory)
    assert family_of(sizes).model_type == model_type
    jax.tree.map(np.testing.assert_array_equal, params, tiny_params(sizes))

    lora = LoRA(2, 4.0, parts=("language", "vision"))
    leaves = init_adapter(leaf_paths(abstract_params(sizes)), lora, 0)
    rng = np.random.default_rng(0)
    leaves = {p: x if p.endswith("scale") else rng.normal(size=x.shape).astype(np.float32) for p, x in leaves.items()}
    towers = {p.split("/")[-2] for p in leaves if p.startswith("vision/")}
    assert {"qkv", "proj", "fc1", "fc2"} <= towers
    save_adapter(tmp_path / "adapter", from_paths(leaves), directory)
    again = read_adapter(tmp_path / "adapter", sizes, directory)
    assert again.keys() == leaves.keys() and all((again[p] == leaves[p]).all() for p in leaves)


def test_an_adapter_of_one_merger_names_no_other(tmp_path):
    """PEFT adapts every module whose name ends in a target."""
    directory = write_directory(tmp_path / "base", "qwen3_vl")
    shapes = leaf_paths(abstract_params(read_config(directory)))
    lora = LoRA(2, 4.0, targets=("vision/deepstack/fc1",), parts=("vision",))
    assert target_modules(shapes, lora) == ["vision/deepstack/fc1"]
    save_adapter(tmp_path / "adapter", from_paths(init_adapter(shapes, lora, 0)), directory)
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert settings["target_modules"] == [f"deepstack_merger_list.{i}.linear_fc1" for i in range(2)]


@pytest.mark.parametrize("name", SIZES)
def test_published_sizes(name):
    sizes = read_config_file(size_file(name))
    count = sum(int(np.prod(x.shape)) for x in jax.tree.leaves(abstract_params(sizes)))
    assert count == COUNTS.get(name, count)
    assert sizes_from_dict(json.loads(json.dumps(family_of(sizes).write_sizes(sizes, "bfloat16")))) == sizes
    assert sizes.visual_token_ids == (151655, 151656, 151652, 151653, 151654)


def raw(model_type):
    return copy.deepcopy(family_of(tiny(model_type)).write_sizes(tiny(model_type), "float32"))


@pytest.mark.parametrize(
    ("model_type", "section", "field", "value", "message"),
    [
        ("qwen2_5_vl", "vision_config", "window_size", 100, "window_size 100 is no whole number of visual tokens"),
        ("qwen2_5_vl", "vision_config", "fullatt_block_indexes", [7], r"fullatt_block_indexes \[7\] names blocks that"),
        ("qwen2_5_vl", "vision_config", "fullatt_block_indexes", "all", "fullatt_block_indexes is 'all', a list"),
        ("qwen2_5_vl", "vision_config", "hidden_act", "gelu", "hidden_act .* is not .*'silu', 'silu'"),
        ("qwen2_5_vl", "vision_config", "out_hidden_size", 16, "out_hidden_size 16 must equal hidden_size 32"),
        ("qwen2_5_vl", None, "quantization_config", {"quant_method": "awq"}, r"weights are quantized \(awq\)"),
        ("qwen3_vl", None, "quantization_config", {"quant_method": "fp8"}, r"weights are quantized \(fp8\)"),
        ("qwen3_vl", None, "quantization_config", {"quant_method": "gptq"}, r"quantized \(gptq\).*before quantization"),
        ("qwen3_vl", None, "quantization_config", {"quant_method": "bitsandbytes"}, r"quantized \(bitsandbytes\)"),
        ("qwen3_vl", "vision_config", "deepstack_visual_indexes", [3], r"indexes \[3\] are not different blocks of"),
        ("qwen3_vl", "vision_config", "num_position_embeddings", 15, "num_position_embeddings is 15, the table"),
        ("qwen3_vl", "text_config", "attention_bias", True, "attention_bias=true is not supported"),
        ("qwen3_vl", None, "model_type", "qwen3_vl_moe", "'qwen3_vl_moe', a mixture of experts, .* dense Qwen3-VL"),
    ],
)
def test_what_is_not_read_is_named(model_type, section, field, value, message):
    changed = raw(model_type)
    (changed[section] if section else changed)[field] = value
    with pytest.raises(ValueError, match=f"^/ckpt/config.json: .*{message}"):
        sizes_from_dict(changed, Path("/ckpt/config.json"))


def test_weights_of_another_family_are_told_from_the_sizes(tmp_path):
    write_directory(tmp_path / "a", "qwen2_5_vl")
    write_directory(tmp_path / "b", "qwen3_vl")
    (tmp_path / "a" / "config.json").write_text((tmp_path / "b" / "config.json").read_text())
    with pytest.raises(ValueError, match="config.json and weights are not of one model"):
        load_params(tmp_path / "a")
