"""Positions against arrays worked out by hand, and what they promise for any layout."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.models.positions import mrope_positions
from rrft_jax.processing.positions import patch_positions, visual_spans

IMAGE, VIDEO, TEXT = 7, 8, 1


def positions_of(tokens, images=(), videos=()):
    spans = visual_spans(np.array(tokens), images, videos, IMAGE, VIDEO, 2)
    return mrope_positions(len(tokens), spans, 2)


def test_text_only_counts():
    positions, following = positions_of([TEXT] * 4)
    np.testing.assert_array_equal(positions, [[0, 1, 2, 3]] * 3)
    assert positions.dtype == np.int32 and following == 4


def test_no_tokens():
    positions, following = positions_of([])
    assert positions.shape == (3, 0) and following == 0


def test_one_image_between_text():
    # 4 x 6 patches make 2 x 3 tokens; the text goes on after the longer side.
    positions, following = positions_of([TEXT] * 2 + [IMAGE] * 6 + [TEXT] * 2, [(1, 4, 6)])
    np.testing.assert_array_equal(
        positions,
        [
            [0, 1, 2, 2, 2, 2, 2, 2, 5, 6],
            [0, 1, 2, 2, 2, 3, 3, 3, 5, 6],
            [0, 1, 2, 3, 4, 2, 3, 4, 5, 6],
        ],
    )
    assert following == 7


def test_two_images_of_different_shape():
    positions, following = positions_of([IMAGE] * 2 + [TEXT] + [IMAGE], [(1, 4, 2), (1, 2, 2)])
    np.testing.assert_array_equal(positions, [[0, 0, 2, 3], [0, 1, 2, 3], [0, 0, 2, 3]])
    assert following == 4


def test_video_counts_frame_pairs():
    positions, following = positions_of([TEXT] + [VIDEO] * 4 + [TEXT], videos=[(2, 2, 4)])
    np.testing.assert_array_equal(
        positions,
        [
            [0, 1, 1, 2, 2, 3],
            [0, 1, 1, 1, 1, 3],
            [0, 1, 2, 1, 2, 3],
        ],
    )
    assert following == 4


def test_long_video_stands_above_the_text_after_it():
    # Five frame pairs of one token reach position 4; the text goes on at 1, and the completion behind the text.
    positions, following = positions_of([VIDEO] * 5 + [TEXT], videos=[(5, 2, 2)])
    np.testing.assert_array_equal(positions[0], [0, 1, 2, 3, 4, 1])
    assert following == 2


def test_kinds_interleaved_take_their_own_grids():
    tokens = [VIDEO] * 2 + [TEXT] + [IMAGE] + [TEXT] + [VIDEO]
    spans = visual_spans(np.array(tokens), [(1, 2, 2)], [(2, 2, 2), (1, 2, 2)], IMAGE, VIDEO, 2)
    assert [(s.start, s.kind, s.number) for s in spans] == [(0, "video", 0), (3, "image", 0), (5, "video", 1)]


@pytest.mark.parametrize(
    ("tokens", "grids", "message"),
    [
        ([IMAGE] * 3, [(1, 4, 4)], "image 0 of grid .* needs 4 image tokens in a row; 3"),
        ([IMAGE, TEXT, IMAGE], [(1, 2, 4)], "or others stand between them"),
        ([IMAGE] * 3, [(1, 2, 4)], "holds 3 image tokens, its 1 images account for 2"),
        ([IMAGE], [], "holds 1 image tokens, its 0 images account for 0"),
        ([TEXT], [(1, 2, 2)], "0 are left"),
    ],
)
def test_tokens_and_grids_that_disagree_are_refused(tokens, grids, message):
    with pytest.raises(ValueError, match=message):
        visual_spans(np.array(tokens), grids, [], IMAGE, VIDEO, 2)


def test_merge_order_by_hand():
    # 2 x 4 patches: the left 2x2 block first, row by row, then the right one.
    expected = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)]
    np.testing.assert_array_equal(patch_positions(2, 4, 2), expected)


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(1, 8))
def test_merge_order_visits_every_patch_once_by_blocks(h, w):
    places = patch_positions(2 * h, 2 * w, 2)
    assert len({tuple(p) for p in places}) == 4 * h * w
    blocks = places.reshape(-1, 4, 2) // 2
    assert (blocks == blocks[:, :1]).all()
    np.testing.assert_array_equal(blocks[:, 0], np.indices((h, w)).reshape(2, -1).T)
