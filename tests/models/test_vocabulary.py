"""Allowed tokens: what a completion may hold."""

from dataclasses import replace

import numpy as np
import pytest

from rrft_jax.models.vocabulary import allowed_tokens
from tests.models.build import TINY


def test_visual_tokens_and_unknown_rows_are_forbidden_eos_and_text_are_not():
    known, eos = 59, (50, 52)
    allowed = allowed_tokens(TINY, known, eos)
    assert allowed.dtype == bool and allowed.shape == (61,)
    # 54 vision_start, 55 vision_end, 56 vision_pad, 57 image, 58 video; 59 and 60 are beyond the tokenizer.
    assert np.flatnonzero(~allowed).tolist() == [54, 55, 56, 57, 58, 59, 60]


def test_an_eos_that_is_also_padding_stays_allowed():
    assert TINY.pad_token_id == 50 and allowed_tokens(TINY, 59, [50])[50]


@pytest.mark.parametrize("eos", [60, 56])
def test_an_eos_is_allowed_wherever_it_lies(eos):
    assert allowed_tokens(TINY, 59, [eos])[eos]


def test_published_ids():
    config = replace(
        TINY,
        vocab_size=151936,
        vision_start_token_id=151652,
        vision_end_token_id=151653,
        image_token_id=151655,
        video_token_id=151656,
    )
    allowed = allowed_tokens(config, 151657, [151645, 151643])
    assert not allowed[151652:].any() and allowed[:151652].all()


@pytest.mark.parametrize("eos", [[], [61]])
def test_an_eos_is_needed_and_must_exist(eos):
    with pytest.raises(ValueError, match="eos_token_ids"):
        allowed_tokens(TINY, 59, eos)
