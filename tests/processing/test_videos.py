"""Videos of models that know the time in them: as positions, or as text before each frame pair."""

from dataclasses import replace

import numpy as np
import pytest

from rrft_jax.processing.processor import encode_prompt

FRAMES = [np.zeros((56, 84, 3), np.uint8)] * 5  # three frame pairs of 2 x 3 visual tokens


def test_positions_of_time_count_seconds(nano):
    clocked = replace(nano, frame_interval=lambda seconds: 2 * seconds)
    encoded = encode_prompt(clocked, "What moves?", [], [FRAMES], fps=[1.5])
    plain = encode_prompt(nano, "What moves?", [], [FRAMES])
    video = encoded.tokens == nano.video_token_id
    # 2 frames / 1.5 a second * 2 positions a second = 2 2/3, cut off for each pair.
    np.testing.assert_array_equal(encoded.positions[0, video] - encoded.positions[0, video][0], np.repeat([0, 2, 5], 6))
    np.testing.assert_array_equal(encoded.positions[1:], plain.positions[1:])
    assert encoded.next_position == plain.next_position


def test_frame_pairs_stand_apart_behind_their_time(nano):
    stamped = replace(nano, timestamps=True)
    encoded = encode_prompt(stamped, "What moves?", [np.zeros((56, 56, 3), np.uint8)], [FRAMES], fps=[2.0])
    text = nano.tokenizer.decode(encoded.tokens, skip_special_tokens=False)
    before, *_, after = text.split("<|vision_start|>")
    pair = "<|vision_start|>" + "<|video_pad|>" * 6 + "<|vision_end|>"
    image = "<|vision_start|>" + "<|image_pad|>" * 4 + "<|vision_end|>"
    film = f"<0.2 seconds>{pair}<1.2 seconds>{pair}<2.0 seconds>{pair}"
    assert text == before + image + film + after.split("<|vision_end|>")[1] and "What moves?" in after
    assert encoded.size.patches == (16, 24, 24, 24)
    video = np.flatnonzero(encoded.tokens == nano.video_token_id)
    starts = encoded.positions[:, video[::6]]
    assert (starts == starts[0]).all() and (np.diff(starts[0]) > 3).all()  # each begins anew behind its text


def test_the_time_must_be_known(nano):
    for model in (replace(nano, timestamps=True), replace(nano, frame_interval=float)):
        with pytest.raises(ValueError, match="this model knows the time in a video: give fps"):
            encode_prompt(model, "", [], [FRAMES])
    for fps in ([0.0], [1.0, 2.0]):
        with pytest.raises(ValueError, match="is not a positive number for each of 1 videos"):
            encode_prompt(nano, "", [], [FRAMES], fps=fps)
