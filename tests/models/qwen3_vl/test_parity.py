"""The same as transformers' Qwen3-VL on random weights of two widths: positions, logits, text, gradients, files."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.models.qwen3_vl.interpolation import taps
from rrft_jax.models.registry import read_config
from rrft_jax.models.weights import load_params, save_params
from rrft_jax.processing.positions import patch_positions
from tests.models.build import Visual, pack, random_patches, rope_positions, text
from tests.models.parity import check_gradient, check_greedy_text, check_logits, randomised, their_inputs, their_logits

pytestmark = pytest.mark.parity

TOKENS = dict(vision_start_token_id=54, vision_end_token_id=55, image_token_id=57, video_token_id=58)
TEXT = dict(vocab_size=101, rms_norm_eps=1e-5, eos_token_id=52, pad_token_id=50, bos_token_id=None)
# DeepStack in fewer layers than there are, and in all of them; heads wider than hidden_size / heads.
WIDTHS = {
    "tied": dict(
        tie=True,
        text=dict(num_hidden_layers=3, hidden_size=64, intermediate_size=96, num_attention_heads=4,
                  num_key_value_heads=2, head_dim=24),
        rope=dict(mrope_section=[6, 3, 3], rope_theta=5e6),
        vision=dict(depth=3, hidden_size=32, num_heads=2, intermediate_size=44, num_position_embeddings=36,
                    deepstack_visual_indexes=[0, 1]),
    ),
    "untied": dict(
        tie=False,
        text=dict(num_hidden_layers=2, hidden_size=48, intermediate_size=64, num_attention_heads=6,
                  num_key_value_heads=1, head_dim=16),
        rope=dict(mrope_section=[2, 3, 3], rope_theta=1e4),
        vision=dict(depth=4, hidden_size=48, num_heads=4, intermediate_size=36, num_position_embeddings=81,
                    deepstack_visual_indexes=[3, 1]),
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=WIDTHS)
def models(request, tmp_path_factory):
    torch = pytest.importorskip("torch")
    modeling = pytest.importorskip("transformers.models.qwen3_vl.modeling_qwen3_vl")
    from transformers import Qwen3VLConfig

    width = WIDTHS[request.param]
    rope = {"rope_type": "default", "mrope_interleaved": True, **width["rope"]}
    config = Qwen3VLConfig(
        text_config={**TEXT, **width["text"], "rope_parameters": rope},
        vision_config={**width["vision"], "out_hidden_size": width["text"]["hidden_size"]},
        tie_word_embeddings=width["tie"], **TOKENS,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = randomised(modeling.Qwen3VLForConditionalGeneration(config))
    directory = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(directory)
    ours = read_config(directory)
    return SimpleNamespace(theirs=theirs, directory=directory, config=ours, params=load_params(directory), torch=torch)


def prompts_of(models):
    """Prompts with pictures smaller and larger than the table of positions; the frame pairs of a video stand apart,
    a text (in the published templates the time) before each; and patches."""
    rng = np.random.default_rng(3)
    frame = lambda h, w: [text(rng, 3), Visual(h, w, video=True)]  # noqa: E731
    prompts = [
        [text(rng, 9)],
        [text(rng, 3), Visual(10, 14), text(rng, 5)],
        [Visual(2, 2), text(rng, 2), Visual(18, 12), Visual(4, 26), text(rng, 1)],
        [*frame(6, 10), *frame(6, 10), *frame(6, 10), text(rng, 3)],
        [*frame(4, 4), *frame(4, 4), text(rng, 2), Visual(12, 6), text(rng, 4), *frame(2, 6)],
    ]
    return prompts, [random_patches(rng, p, models.config.vision.patch_dim) for p in prompts]


def test_positions(models):
    prompts, patches = prompts_of(models)
    for segments, row in zip(prompts[1:], patches[1:], strict=True):
        positions, following = rope_positions(segments)
        expected, _ = models.theirs.model.get_rope_index(**their_inputs(models, [*segments, [1]], row))
        np.testing.assert_array_equal(positions, expected[:, 0, :-1])
        assert (expected[:, 0, -1] == following).all()


def test_logits(models):
    prompts, patches = prompts_of(models)
    check_logits(models, prompts, patches, pack(prompts, patches, models.config, extra=(2, 1, 4)))


def test_greedy_text(models):
    prompts, patches = prompts_of(models)
    check_greedy_text(models, prompts, patches, pack(prompts, patches, models.config))


def test_gradient(models):
    prompts, patches = prompts_of(models)
    batch = pack(prompts, patches, models.config, extra=(1, 1, 4))
    check_gradient(models, prompts, patches, batch, remat="full")


def test_what_we_save_loads_there(models, tmp_path):
    save_params(tmp_path, models.config, models.params, dtype="float32", shard_bytes=50_000)
    theirs, info = type(models.theirs).from_pretrained(tmp_path, dtype=models.torch.float32, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert read_config(tmp_path) == models.config
    prompts, patches = prompts_of(models)
    one = prompts[4], patches[4]
    np.testing.assert_array_equal(their_logits(models, theirs.eval(), *one), their_logits(models, models.theirs, *one))


find_taps = jax.jit(taps)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(2, 50))
def test_interpolation_of_positions(rows, columns, side):
    """Entries of the table, and weights but for their rounding, for pictures of any size; padding may hold anything."""
    torch = pytest.importorskip("torch")
    from transformers.vision_utils import get_vision_interpolation_indices_and_weights

    grid = torch.tensor([[1, 2 * rows, 2 * columns]])
    expected = get_vision_interpolation_indices_and_weights(grid, side, align_corners=True, spatial_merge_size=2)
    n = 4 * rows * columns
    position = np.random.default_rng(0).integers(0, 99, (1, 3600, 2)).astype(np.int32)
    position[0, :n] = patch_positions(2 * rows, 2 * columns, 2)
    index, weight = find_taps(position, np.arange(3600)[None] < n, side)
    np.testing.assert_array_equal(index[0, :n], expected[0])
    np.testing.assert_allclose(weight[0, :n], expected[1], rtol=0, atol=4e-6)
