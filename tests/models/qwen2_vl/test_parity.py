"""The same as transformers' Qwen2-VL, on random weights of several widths: logits, greedy text, files both ways."""

from types import SimpleNamespace

import jax
import ml_dtypes
import numpy as np
import pytest

from rrft_jax.models.head import logits
from rrft_jax.models.qwen2_vl.model import Qwen2VL
from rrft_jax.models.registry import read_config
from rrft_jax.models.weights import load_params, save_params
from rrft_jax.rollout.decoder import Decoder
from rrft_jax.rollout.sampler import sample
from rrft_jax.rollout.sampling import Sampling
from tests.models.build import Visual, pack, quick_jit, random_patches, rope_positions, spell, text

pytestmark = pytest.mark.parity

ATOL = 2e-4
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
    theirs = modeling.Qwen2VLForConditionalGeneration(config).float().eval()
    with torch.no_grad():
        for name, p in theirs.named_parameters():
            center, spread = (1, 0.2) if p.ndim == 1 and "weight" in name else (0, 0.15)
            p.copy_(center + spread * torch.randn(p.shape))
    directory = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(directory)
    ours = read_config(directory)
    return SimpleNamespace(theirs=theirs, directory=directory, config=ours, params=load_params(directory), torch=torch)


def layouts(rng):
    """Prompts of every kind."""
    return {
        "text only": [text(rng, 9)],
        "one image": [text(rng, 3), Visual(4, 6), text(rng, 5)],
        "images of several sizes": [Visual(2, 2), text(rng, 2), Visual(8, 2), Visual(2, 10), text(rng, 1)],
        "long video": [text(rng, 1), Visual(2, 4, frames=5, video=True)],
        "video and image": [Visual(4, 4, frames=2, video=True), text(rng, 2), Visual(2, 6), text(rng, 4)],
    }


def their_inputs(models, segments, patches):
    """Keyword arguments of the transformers model for one prompt; a video's patches are its frame pairs in order."""
    torch = models.torch
    ids = torch.tensor([spell(segments, models.config)])
    kinds = torch.zeros_like(ids)
    kinds[ids == models.config.image_token_id] = 1
    kinds[ids == models.config.video_token_id] = 2
    inputs = dict(input_ids=ids, attention_mask=torch.ones_like(ids), mm_token_type_ids=kinds)
    patches = iter(patches)
    for video, pixels, grids in (
        (False, "pixel_values", "image_grid_thw"),
        (True, "pixel_values_videos", "video_grid_thw"),
    ):
        inputs[grids] = [(s.frames, s.h, s.w) for s in segments if isinstance(s, Visual) and s.video == video]
        inputs[pixels] = []
    for s in segments:
        if isinstance(s, Visual):
            name = "pixel_values_videos" if s.video else "pixel_values"
            inputs[name] += [torch.tensor(next(patches)) for _ in range(s.frames)]
    for name, value in list(inputs.items()):
        if isinstance(value, list):
            made = (torch.cat if "pixel" in name else torch.tensor)(value) if value else None
            inputs[name] = made
    return {name: value for name, value in inputs.items() if value is not None}


def their_logits(models, model, segments, patches):
    with models.torch.no_grad():
        return model(**their_inputs(models, segments, patches)).logits[0].float().numpy()


def our_logits(config, params, batch):
    model = Qwen2VL(config)
    run = quick_jit(lambda p, b: logits(model.prefill(p, b)[0], model.output_table(p), None))
    return np.asarray(run(params, batch))


def one_batch(models):
    rng = np.random.default_rng(3)
    prompts = list(layouts(rng).values())
    patches = [random_patches(rng, p) for p in prompts]
    return prompts, patches, pack(prompts, patches, models.config, extra=(2, 1, 4))


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
