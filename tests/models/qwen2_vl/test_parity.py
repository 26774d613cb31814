"""The same as transformers' Qwen2-VL, on random weights of several widths: logits, greedy text, files both ways."""

from types import SimpleNamespace

import jax
import ml_dtypes
import numpy as np
import pytest

from rrft_jax.models.qwen2_vl.model import Qwen2VL
from rrft_jax.models.registry import read_config
from rrft_jax.models.weights import load_params, save_params
from rrft_jax.rollout.decoder import Decoder
from rrft_jax.rollout.sampler import sample
from rrft_jax.rollout.sampling import Sampling
from tests.models.build import pack, quick_jit, random_patches, rope_positions
from tests.models.parity import ATOL, layouts, one_batch, our_logits, randomised, their_inputs, their_logits

pytestmark = pytest.mark.parity

TOKENS = dict(vision_start_token_id=54, vision_end_token_id=55, image_token_id=57, video_token_id=58)
TEXT = dict(vocab_size=101, num_hidden_layers=2, rms_norm_eps=1e-5, eos_token_id=52, pad_token_id=50, bos_token_id=None)
WIDTHS = {
    "tied, two queries a key": dict(
        tie=True,
        text=dict(hidden_size=64, intermediate_size=96, num_attention_heads=4, num_key_value_heads=2),
        rope=dict(mrope_section=[2, 3, 3], rope_theta=1e6),
        vision=dict(depth=2, embed_dim=32, num_heads=2, mlp_ratio=4),
    ),
    "untied, one key head": dict(
        tie=False,
        text=dict(hidden_size=96, intermediate_size=64, num_attention_heads=6, num_key_value_heads=1),
        rope=dict(mrope_section=[4, 2, 2], rope_theta=1e4),
        vision=dict(depth=3, embed_dim=48, num_heads=4, mlp_ratio=2),
    ),
    "tied, a key head a query head, 2B's vision head": dict(
        tie=True,
        text=dict(hidden_size=48, intermediate_size=80, num_attention_heads=2, num_key_value_heads=2),
        rope=dict(mrope_section=[2, 4, 6], rope_theta=1e6),
        vision=dict(depth=1, embed_dim=80, num_heads=1, mlp_ratio=4),
    ),
}


@pytest.fixture(scope="module", params=WIDTHS, ids=lambda name: name.replace(", ", "-").replace(" ", "_"))
def models(request, tmp_path_factory):
    """A random transformers model, its directory as save_pretrained writes it, and what we read from there."""
    torch = pytest.importorskip("torch")
    modeling = pytest.importorskip("transformers.models.qwen2_vl.modeling_qwen2_vl")
    from transformers import Qwen2VLConfig

    width = WIDTHS[request.param]
    config = Qwen2VLConfig(
        text_config={**TEXT, **width["text"], "rope_parameters": {"rope_type": "default", **width["rope"]}},
        vision_config={**width["vision"], "hidden_size": width["text"]["hidden_size"]},
        tie_word_embeddings=width["tie"],
        **TOKENS,
    )
    torch.manual_seed(0)
    theirs = randomised(modeling.Qwen2VLForConditionalGeneration(config))
    directory = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(directory)
    ours = read_config(directory)
    return SimpleNamespace(theirs=theirs, directory=directory, config=ours, params=load_params(directory), torch=torch)


def test_positions_of_the_test_prompts(models):
    """The rule the model tests are built with is transformers' own, for the prompt and for the text that follows."""
    rng = np.random.default_rng(0)
    for segments in layouts(rng).values():
        inputs = their_inputs(models, [*segments, [1]], random_patches(rng, segments))
        positions, following = rope_positions(segments)
        if "image_grid_thw" in inputs or "video_grid_thw" in inputs:
            expected, _ = models.theirs.model.get_rope_index(**inputs)
            np.testing.assert_array_equal(positions, expected[:, 0, :-1])
            assert (expected[:, 0, -1] == following).all()


def test_logits(models):
    """Every position of every kind of prompt, in one padded batch here and alone there."""
    prompts, patches, batch = one_batch(models)
    ours = our_logits(models.config, models.params, batch)
    for z, segments, row in zip(ours, prompts, patches, strict=True):
        expected = their_logits(models, models.theirs, segments, row)
        assert expected.std() > 0.3
        np.testing.assert_allclose(z[: len(expected)], expected, rtol=0, atol=ATOL)


def test_greedy_text(models):
    prompts, patches, batch = one_batch(models)
    model = Qwen2VL(models.config)
    decoder = Decoder(model, None, (52,), 50, 32, Sampling(0.0), stop_at_eos=False)
    rollouts = quick_jit(lambda p, b: sample(decoder, p, b, jax.random.key(0), 1))(models.params, batch)
    for tokens, segments, row in zip(rollouts.tokens[:, 0], prompts, patches, strict=True):
        inputs = their_inputs(models, segments, row)
        expected = models.theirs.generate(
            **inputs, do_sample=False, max_new_tokens=32, eos_token_id=None, pad_token_id=50, use_cache=True
        )
        new = expected[0, inputs["input_ids"].shape[1] :]
        assert tokens.tolist() == new.tolist() and len(new) == 32


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shard_bytes", [2**30, 50_000])
def test_what_we_save_loads_there(models, tmp_path, dtype, shard_bytes):
    torch = models.torch
    save_params(tmp_path, models.config, models.params, dtype=dtype, shard_bytes=shard_bytes)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1 or shard_bytes < 2**30
    theirs, info = type(models.theirs).from_pretrained(tmp_path, dtype=torch.float32, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    stored = dict(models.theirs.named_parameters())
    for name, p in theirs.named_parameters():
        expected = stored[name].detach()
        assert torch.equal(p, expected.bfloat16().float() if dtype == "bfloat16" else expected), name
    segments = layouts(np.random.default_rng(5))["video and image"]
    patches = random_patches(np.random.default_rng(6), segments)
    found = their_logits(models, theirs.eval(), segments, patches)
    if dtype == "float32":
        np.testing.assert_array_equal(found, their_logits(models, models.theirs, segments, patches))
    else:
        rounded = jax.tree.map(lambda x: x.astype(ml_dtypes.bfloat16).astype(np.float32), models.params)
        ours = our_logits(models.config, rounded, pack([segments], [patches], models.config))
        np.testing.assert_allclose(ours[0], found, rtol=0, atol=ATOL)
