"""Against transformers itself: M-RoPE indices for random layouts, and patches of random images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.models.positions import mrope_positions
from rrft_jax.processing.positions import visual_spans
from rrft_jax.processing.processor import encode_prompt

pytestmark = pytest.mark.parity

IMAGE, VIDEO = 5, 6
GRID = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))


@pytest.fixture(scope="module")
def model():
    torch = pytest.importorskip("torch")
    from transformers import Qwen2VLConfig, Qwen2VLModel

    config = Qwen2VLConfig(
        text_config={
            "vocab_size": 8, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
        },
        vision_config={"depth": 1, "embed_dim": 16, "num_heads": 2, "hidden_size": 16, "mlp_ratio": 1},
        image_token_id=IMAGE, video_token_id=VIDEO,
    )  # fmt: skip
    with torch.device("meta"):
        return Qwen2VLModel(config)


# A layout is a list of pieces, each some text and then perhaps an image or a video.
LAYOUT = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from(["text", "image", "video"]), GRID), min_size=1, max_size=7
)


@settings(deadline=None, max_examples=300)
@given(LAYOUT, st.integers(0, 4), st.integers(0, 5))
def test_rope_index_of_random_layouts(model, layout, ending, padding):
    import torch

    tokens, grids = [], {"image": [], "video": []}
    for text, kind, (t, h, w) in layout:
        tokens += [1] * text
        if kind != "text":
            t = 1 if kind == "image" else t
            grids[kind].append((t, 2 * h, 2 * w))
            tokens += [IMAGE if kind == "image" else VIDEO] * (t * h * w)
    tokens += [1] * ending
    # Right padding shows that transformers' indices of the real tokens do not depend on it.
    # One text token more tells where a completion begins; transformers' rope_deltas say so only without long videos.
    ids = torch.tensor([tokens + [1] + [0] * padding])
    kinds = torch.where(ids == IMAGE, 1, torch.where(ids == VIDEO, 2, 0))
    as_tensor = {k: torch.tensor(g) if g else None for k, g in grids.items()}
    mask = torch.tensor([[1] * (len(tokens) + 1) + [0] * padding])
    theirs, _ = model.get_rope_index(ids, kinds, as_tensor["image"], as_tensor["video"], mask)
    spans = visual_spans(np.array(tokens), grids["image"], grids["video"], IMAGE, VIDEO, 2)
    ours, following = mrope_positions(len(tokens), spans, 2)
    np.testing.assert_array_equal(ours, theirs[:, 0, : len(tokens)].numpy())
    assert [following] * 3 == theirs[:, 0, len(tokens)].tolist()


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(8, 200), st.integers(8, 200)), min_size=1, max_size=3), st.integers(0, 2**31))
def test_patches_are_bit_identical_to_transformers(qwen, qwen_directory, shapes, seed):
    from PIL import Image
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    rng = np.random.default_rng(seed)
    images = [Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)) for h, w in shapes]
    theirs = Qwen2VLImageProcessorPil.from_pretrained(str(qwen_directory), max_pixels=qwen.max_pixels)(images=images)
    ours = encode_prompt(qwen, "Compare.", images)
    np.testing.assert_array_equal(np.concatenate(ours.patches), theirs["pixel_values"])
    assert list(ours.size.patches) == np.prod(theirs["image_grid_thw"], axis=1).tolist()
