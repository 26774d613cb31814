"""Choice of a shape, padding to it, and what is refused."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.data.example import Example
from rrft_jax.data.index import Bucket, build_index
from rrft_jax.processing.buckets import Buckets, PromptTooLong, collate, describe
from rrft_jax.processing.encoded import Size
from rrft_jax.processing.processor import encode_prompt, measure

BUCKETS = Buckets(prompt=(64, 128), images=(0, 1, 3), patches=(16, 64))


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        (Size(10), Bucket(64, 0, 0)),
        (Size(64, (16,)), Bucket(64, 1, 16)),
        (Size(65, (16, 17)), Bucket(128, 3, 64)),
        (Size(128, (64,)), Bucket(128, 1, 64)),
    ],
)
def test_choice_is_the_smallest(size, bucket):
    assert BUCKETS.choose(size) == bucket and bucket in BUCKETS.shapes


@pytest.mark.parametrize("size", [Size(129), Size(10, (65,)), Size(10, (4,) * 4)])
def test_what_fits_none_is_refused_with_id_and_sizes(size):
    with pytest.raises(PromptTooLong, match=f"prompt scene-7: {size.prompt_tokens} tokens, {len(size.patches)} image"):
        BUCKETS.choose(size, "scene-7")


def test_shapes_without_images_have_no_patches():
    assert Buckets((8, 16), (0, 1), (16, 64)).shapes == (
        Bucket(8, 0, 0), Bucket(8, 1, 16), Bucket(8, 1, 64), Bucket(16, 0, 0), Bucket(16, 1, 16), Bucket(16, 1, 64),
    )  # fmt: skip


@settings(deadline=None)
@given(st.integers(1, 140), st.lists(st.integers(1, 18).map(lambda k: 4 * k), max_size=4))
def test_choice_agrees_with_the_index_pass(tokens, patches):
    size = Size(tokens, tuple(patches))
    try:
        index = build_index([Example("a", "t", "q", "1")], lambda e: e.problem, lambda *_: size, BUCKETS.shapes)
    except ValueError:
        with pytest.raises(PromptTooLong):
            BUCKETS.choose(size)
    else:
        assert index.buckets[index.bucket_ids[0]] == BUCKETS.choose(size)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt": (128, 64)}, r"buckets.prompt=\(128, 64\) must be an ascending"),
        ({"prompt": ()}, "buckets.prompt="),
        ({"prompt": (0,)}, "buckets.prompt="),
        ({"prompt": (8,), "images": (1, 1)}, "buckets.images="),
    ],
)
def test_lists_that_make_no_sense_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Buckets(**values)


def test_patches_make_whole_visual_tokens():
    BUCKETS.check_merged(4)
    with pytest.raises(ValueError, match=r"buckets.patches=\(16, 64\) must be multiples of 9, the patches of a token"):
        BUCKETS.check_merged(9)


def image(seed, height=56, width=56):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_collate_pads_on_the_right_and_loses_nothing(nano):
    rows = [
        encode_prompt(nano, "How many objects are left?", [image(0), image(1, 56, 84)]),
        encode_prompt(nano, "List the objects."),
    ]
    bucket = Buckets((96,), (2, 3), (32, 64)).choose(rows[0].size)
    prompts = collate(rows, [11, 12], bucket, nano.pad_token_id)
    shapes = {f.name: getattr(prompts, f.name).shape for f in dataclasses.fields(prompts)}
    assert shapes == {
        "prompt_id": (2,), "tokens": (2, 96), "token_mask": (2, 96), "positions": (2, 3, 96), "next_position": (2,),
        "patches": (2, 2, 32, 1176), "patch_mask": (2, 2, 32), "patch_position": (2, 2, 32, 2),
    }  # fmt: skip
    dtypes = [getattr(prompts, f.name).dtype.name for f in dataclasses.fields(prompts)]
    assert dtypes == ["int32", "int32", "bool", "int32", "int32", "float32", "bool", "int32"]
    for b, row in enumerate(rows):
        p = len(row.tokens)
        np.testing.assert_array_equal(prompts.tokens[b, :p], row.tokens)
        assert (prompts.tokens[b, p:] == nano.pad_token_id).all()
        np.testing.assert_array_equal(prompts.token_mask[b], np.arange(96) < p)
        np.testing.assert_array_equal(prompts.positions[b, :, :p], row.positions)
        assert prompts.next_position[b] == row.next_position
        for i in range(2):
            n = len(row.patches[i]) if i < len(row.patches) else 0
            np.testing.assert_array_equal(prompts.patch_mask[b, i], np.arange(32) < n)
            if n:
                np.testing.assert_array_equal(prompts.patches[b, i, :n], row.patches[i])
                np.testing.assert_array_equal(prompts.patch_position[b, i, :n], row.patch_positions[i])
            assert not prompts.patches[b, i, n:].any()
    np.testing.assert_array_equal(prompts.prompt_id, [11, 12])


def test_text_only_batch_has_no_slots(nano):
    rows = [encode_prompt(nano, "Hello")]
    prompts = collate(rows, [0], Buckets((64,)).choose(rows[0].size), nano.pad_token_id)
    assert prompts.patches.shape == (1, 0, 0, 1176)


def test_collate_refuses_a_small_bucket_and_changed_tokens(nano):
    row = encode_prompt(nano, "How many?", [image(0)])
    with pytest.raises(PromptTooLong, match=r"prompt 42: .* do not fit Bucket\(prompt_tokens=8"):
        collate([row], [42], Bucket(8, 1, 64), nano.pad_token_id)
    tokens = row.tokens.copy()
    tokens[np.flatnonzero(tokens == nano.image_token_id)[0]] = nano.pad_token_id
    with pytest.raises(ValueError, match="prompt 42: 3 image tokens stand for 12 patches but it has 16"):
        collate([dataclasses.replace(row, tokens=tokens)], [42], Bucket(64, 1, 64), nano.pad_token_id)
    with pytest.raises(ValueError, match="prompt 43: 4 image tokens stand for 16 patches but it has 0"):
        bare = dataclasses.replace(row, patches=[], patch_positions=[])
        collate([bare], [43], Bucket(64, 1, 64), nano.pad_token_id)


def test_description_names_limits_and_tokens(nano):
    sizes = [measure(nano, "How many?", [(112, 112)]), measure(nano, "How many are left?", [(56, 56)])]
    text = describe(nano, sizes)
    assert "min_pixels=3136" in text and "max_pixels=12544" in text
    assert "2 images of 4 to 16 (mean 10.0) visual tokens" in text
    assert "no images" in describe(nano, [measure(nano, "Hello")])
