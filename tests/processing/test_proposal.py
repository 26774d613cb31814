"""Buckets from sizes: they hold everything, are few, and pad little."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.processing.buckets import AUTO, Buckets
from rrft_jax.processing.encoded import Size
from rrft_jax.processing.proposal import MAX_SHAPES, STEP, filled, propose

ALL = Buckets(AUTO, AUTO, AUTO)
ANY = 10**9


def test_small_pictures_get_a_small_bucket():
    (bucket,) = propose([Size(80 + k, (64,)) for k in range(20)], ALL, ANY)
    assert (bucket.prompt_tokens, bucket.images, bucket.patches) == (128, 1, 64)


def test_sizes_far_apart_are_kept_apart_and_near_ones_together():
    sizes = [Size(100, (64,))] * 50 + [Size(110, (96,))] * 50 + [Size(500, (1564,))] * 50 + [Size(900, (748, 748))] * 9
    assert [(b.prompt_tokens, b.images, b.patches) for b in propose(sizes, ALL, ANY)] == [
        (128, 1, 96), (512, 1, 1568), (928, 2, 768)
    ]  # fmt: skip


def test_text_alone_has_no_slots():
    (bucket,) = propose([Size(60), Size(70)], ALL, ANY)
    assert (bucket.prompt_tokens, bucket.images, bucket.patches) == (96, 0, 0)


def test_what_is_listed_stays_listed():
    """And what is longer than a listed value, or than the model reads, gets no bucket."""
    sizes = [Size(100, (64,)), Size(600, (64,)), Size(100, (1564,)), Size(5000, (64,))]
    given_lists = Buckets((512,), AUTO, (256, 2048))
    assert {(b.prompt_tokens, b.images, b.patches) for b in propose(sizes, given_lists, ANY)} == {
        (512, 1, 256), (512, 1, 2048)
    }  # fmt: skip
    assert max(b.prompt_tokens for b in propose(sizes, ALL, 1000)) == 608
    assert propose(sizes, ALL, 10) == propose([], ALL, ANY) == ()


def test_one_outlier_does_not_pad_all_the_others():
    sizes = [Size(100, (64,))] * 1000 + [Size(4000, (64,))]
    small, large = propose(sizes, ALL, ANY)
    assert (small.prompt_tokens, large.prompt_tokens) == (128, 4000)


size = st.builds(Size, st.integers(1, 4000), st.lists(st.integers(1, 700).map(lambda k: 4 * k), max_size=5).map(tuple))


@settings(deadline=None, max_examples=200)
@given(st.lists(size, min_size=1, max_size=60))
def test_few_buckets_hold_every_prompt_whatever_the_order(sizes):
    found = propose(sizes, ALL, ANY)
    assert 1 <= len(found) <= MAX_SHAPES and len(set(found)) == len(found)
    assert all(any(bucket.fits(size) for bucket in found) for size in sizes)
    assert all(b.prompt_tokens % STEP == 0 and b.patches % STEP == 0 for b in found)
    assert set(propose(sizes[::-1], ALL, ANY)) == set(found)
    # No axis of a bucket is larger than the largest need, rounded up.
    for field, need in (("prompt_tokens", max(s.prompt_tokens for s in sizes)),
                        ("patches", max(max(s.patches, default=0) for s in sizes))):  # fmt: skip
        assert max(getattr(b, field) for b in found) == -(-need // STEP) * STEP


def test_many_sizes_are_padded_little_and_soon_done():
    rng = np.random.default_rng(0)
    patches = 4 * rng.integers(4, 612, 50_000)
    texts = rng.integers(40, 120, len(patches))
    sizes = [Size(int(n // 4 + t), (int(n),)) for n, t in zip(patches, texts, strict=True)]
    found = propose(sizes, ALL, ANY)
    chosen = [next(b for b in found if b.fits(size)) for size in sizes]
    assert filled(sizes, chosen) > 0.75 and len(found) == MAX_SHAPES


@pytest.mark.parametrize("values", [("auto", 3), ("any",), "auto,3", ("auto", "auto")])
def test_auto_stands_alone(values):
    with pytest.raises(ValueError, match="buckets.prompt=.* must be an ascending list of sizes, or auto"):
        Buckets(values)
    assert Buckets("auto").auto and Buckets(("auto",)).lists == (None, (0,), (0,))
    with pytest.raises(ValueError, match="chosen from the records of a folder"):
        Buckets("auto").shapes  # noqa: B018
