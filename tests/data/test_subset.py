"""Parts of the training examples that two stages share out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrft_jax.data.subset import chosen, generated_number


@given(st.integers(2, 300), st.data())
def test_two_ranges_share_out_every_example_once(count, data):
    cut = data.draw(st.integers(1, count - 1))
    first, rest = chosen(count, 0, cut), chosen(count, cut, 0)
    assert first.sum() == cut and np.array_equal(first, ~rest)


def test_the_choice_is_random_and_fixed():
    mask = chosen(1000, 0, 500)
    assert np.array_equal(mask, chosen(1000, 0, 500))
    assert 180 < mask[:500].sum() < 320  # not simply the first half: 250 expected, 11 is one standard deviation


@pytest.mark.parametrize("count", [0, 5])
def test_nothing_left_is_an_error(count):
    with pytest.raises(ValueError, match="config.data.range=5,0 leaves none"):
        chosen(count, 5, 0)


def test_generated_examples_begin_again_at_the_end_of_their_range():
    assert [generated_number(place, 10, 13) for place in range(5)] == [10, 11, 12, 10, 11]
    assert [generated_number(place, 10, 0) for place in range(3)] == [10, 11, 12]
