"""The same as transformers' Qwen2.5-VL on random weights of two widths: windows, positions, logits, text, gradients."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rrft_jax.models.positions import mrope_positions
from rrft_jax.models.qwen2_5_vl.windows import PADDING, windows_of
from rrft_jax.models.registry import read_config
from rrft_jax.models.weights import load_params, save_params
from rrft_jax.processing.positions import patch_positions, visual_spans
from tests.models.build import Visual, pack, random_patches, rope_positions, text
from tests.models.parity import (
    check_gradient,
    check_greedy_text,
    check_logits,
    randomised,
    their_inputs,
    their_logits,
)

pytestmark = pytest.mark.parity

TOKENS = dict(vision_start_token_id=54, vision_end_token_id=55, image_token_id=57, video_token_id=58)
TEXT = dict(vocab_size=101, num_hidden_layers=2, rms_norm_eps=1e-5, eos_token_id=52, pad_token_id=50, bos_token_id=None)
# Windows of 4 and of 8 patches a side; towers that begin and end with either kind of block.
WIDTHS = {
    "tied": dict(
        tie=True,
        text=dict(hidden_size=64, intermediate_size=96, num_attention_heads=4, num_key_value_heads=2),
        rope=dict(mrope_section=[2, 3, 3], rope_theta=1e6),
        vision=dict(depth=3, hidden_size=32, num_heads=2, intermediate_size=44, window_size=56,
                    fullatt_block_indexes=[1], tokens_per_second=2),
    ),
    "untied": dict(
        tie=False,
        text=dict(hidden_size=48, intermediate_size=64, num_attention_heads=6, num_key_value_heads=1),
        rope=dict(mrope_section=[2, 1, 1], rope_theta=1e4),
        vision=dict(depth=4, hidden_size=48, num_heads=4, intermediate_size=36, window_size=112,
                    fullatt_block_indexes=[0, 3], tokens_per_second=4),
    ),
}  # fmt: skip
SECONDS = 1.3  # between frame pairs of every video


@pytest.fixture(scope="module", params=WIDTHS)
def models(request, tmp_path_factory):
    torch = pytest.importorskip("torch")
    modeling = pytest.importorskip("transformers.models.qwen2_5_vl.modeling_qwen2_5_vl")
    from transformers import Qwen2_5_VLConfig

    width = WIDTHS[request.param]
    config = Qwen2_5_VLConfig(
        text_config={**TEXT, **width["text"], "rope_parameters": {"rope_type": "default", **width["rope"]}},
        vision_config={**width["vision"], "out_hidden_size": width["text"]["hidden_size"]},
        tie_word_embeddings=width["tie"], **TOKENS,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = randomised(modeling.Qwen2_5_VLForConditionalGeneration(config))
    directory = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(directory)
    ours = read_config(directory)
    return SimpleNamespace(theirs=theirs, directory=directory, config=ours, params=load_params(directory), torch=torch)


def prompts_of(models):
    """Prompts whose pictures are no whole number of windows, with videos whose time is that of a clock; and patches."""
    rng = np.random.default_rng(3)
    film = lambda *grid: Visual(*grid, video=True, interval=models.config.vision.positions_per_second * SECONDS)  # noqa: E731
    prompts = [
        [text(rng, 9)],
        [text(rng, 3), Visual(10, 14), text(rng, 5)],
        [Visual(2, 2), text(rng, 2), Visual(18, 12), Visual(4, 26), text(rng, 1)],
        [text(rng, 1), film(6, 10, 4), text(rng, 3)],
        [film(4, 4, 2), text(rng, 2), Visual(12, 6), text(rng, 4), film(2, 6, 3)],
    ]
    return prompts, [random_patches(rng, p) for p in prompts]


def test_positions(models):
    prompts, patches = prompts_of(models)
    for segments, row in zip(prompts[1:], patches[1:], strict=True):
        positions, following = rope_positions(segments)
        expected, _ = models.theirs.model.get_rope_index(**their_inputs(models, [*segments, [1]], row, SECONDS))
        np.testing.assert_array_equal(positions, expected[:, 0, :-1])
        assert (expected[:, 0, -1] == following).all()


def test_logits(models):
    prompts, patches = prompts_of(models)
    check_logits(models, prompts, patches, pack(prompts, patches, models.config, extra=(2, 1, 4)), SECONDS)
    few = slice(0, 2)  # pictures of few patches, which all blocks attend to at once
    check_logits(models, prompts[few], patches[few], pack(prompts[few], patches[few], models.config), SECONDS)


def test_greedy_text(models):
    prompts, patches = prompts_of(models)
    check_greedy_text(models, prompts, patches, pack(prompts, patches, models.config), SECONDS)


def test_gradient(models):
    prompts, patches = prompts_of(models)
    batch = pack(prompts, patches, models.config, extra=(1, 1, 4))
    check_gradient(models, prompts, patches, batch, SECONDS, remat="full")


def test_what_we_save_loads_there(models, tmp_path):
    save_params(tmp_path, models.config, models.params, dtype="float32", shard_bytes=50_000)
    theirs, info = type(models.theirs).from_pretrained(
        tmp_path, dtype=models.torch.float32, output_loading_info=True
    )
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert read_config(tmp_path) == models.config
    prompts, patches = prompts_of(models)
    one = prompts[4], patches[4], SECONDS
    np.testing.assert_array_equal(their_logits(models, theirs.eval(), *one), their_logits(models, models.theirs, *one))


GRID = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
PIECE = st.tuples(st.integers(1, 5), st.sampled_from(["text", "image", "video"]), GRID, st.floats(0.125, 9, width=32))


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.differing_executors])
@given(st.lists(PIECE, min_size=1, max_size=7))
def test_positions_of_random_layouts(models, layout):
    """With videos of any number of frame pairs a second."""
    torch, rate = models.torch, models.config.vision.positions_per_second
    tokens, grids, seconds = [], {"image": [], "video": []}, []
    for count, kind, (t, h, w), apart in layout:
        tokens += [1] * count
        if kind != "text":
            t = 1 if kind == "image" else t
            seconds += [apart] * (kind == "video")
            grids[kind].append((t, 2 * h, 2 * w))
            tokens += [57 if kind == "image" else 58] * (t * h * w)
    ids = torch.tensor([[*tokens, 1]])
    kinds = torch.where(ids == 57, 1, torch.where(ids == 58, 2, 0))
    as_tensor = {f"{kind}_grid_thw": torch.tensor(g) if g else None for kind, g in grids.items()}
    theirs, _ = models.theirs.model.get_rope_index(ids, kinds, **as_tensor, second_per_grid_ts=torch.tensor(seconds))
    spans = visual_spans(np.array(tokens), grids["image"], grids["video"], 57, 58, 2)
    spans = [replace(s, interval=rate * seconds[s.number]) if s.kind == "video" else s for s in spans]
    ours, following = mrope_positions(len(tokens), spans, 2)
    np.testing.assert_array_equal(ours, theirs[:, 0, :-1].numpy())
    assert [following] * 3 == theirs[:, 0, -1].tolist()


find_windows = jax.jit(lambda position, mask, side: windows_of(position, mask, side, merged=4))


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 5))
def test_window_index(rows, columns, cells):
    """Of pictures of any size: the order of the cells and where windows end. Padding, whatever it holds, is last."""
    torch = pytest.importorskip("torch")
    from transformers.vision_utils import get_vision_window_index

    expected, ends = get_vision_window_index(torch.tensor([[1, 2 * rows, 2 * columns]]), 2, 28 * cells, 14)
    n = 4 * rows * columns
    position = np.random.default_rng(0).integers(0, 99, (1, 3600, 2)).astype(np.int32)
    position[0, :n] = patch_positions(2 * rows, 2 * columns, 2)
    order, number = find_windows(position, np.arange(3600)[None] < n, 2 * cells)
    np.testing.assert_array_equal(order[0, : rows * columns], expected)
    assert (number[0, n:] == PADDING).all()
    np.testing.assert_array_equal(np.flatnonzero(np.diff(number[0, :n])) + 1, ends[1:-1])

