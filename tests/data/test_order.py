"""The order of batches: a function of (seed, t) under which every example comes once per epoch."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.data.order import batch_ids, epoch_of, epoch_start, epochs_passed


def make_groups(sizes):
    """Buckets of these sizes over interleaved example numbers."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    return [np.flatnonzero(labels == k) for k in range(len(sizes))]


cases = st.tuples(
    st.lists(st.integers(0, 23), min_size=1, max_size=4).filter(sum),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)


@settings(max_examples=40, deadline=None)
@given(cases)
def test_each_bucket_reads_whole_epochs_without_drop_or_repeat(case):
    sizes, B, seed = case
    groups, epochs = make_groups(sizes), 3
    streams = {k: [] for k in range(len(sizes))}
    for t in range(epoch_start(sizes, epochs, B)):
        batch = batch_ids(groups, seed, t, B)
        assert batch.indices.shape == batch.prompt_ids.shape == (B,) and batch.prompt_ids.dtype == np.int32
        streams[batch.bucket] += list(zip(batch.indices.tolist(), batch.prompt_ids.tolist(), strict=True))
    seen = []
    for k, stream in streams.items():
        n = sizes[k]
        assert epochs * n <= len(stream) < epochs * n + B or n == 0 == len(stream)
        for e in range(math.ceil(len(stream) / n) if n else 0):
            part = stream[e * n : (e + 1) * n]
            indices = [i for i, _ in part]
            assert len(set(indices)) == len(indices) and set(indices) <= set(groups[k])
            assert len(part) < n or sorted(indices) == groups[k].tolist()
            assert [p for _, p in part] == [e * sum(sizes) + i for i in indices]
        seen += [p for _, p in stream]
    assert len(set(seen)) == len(seen)


@settings(max_examples=40, deadline=None)
@given(cases, st.integers(0, 10**6))
def test_any_batch_is_addressable(case, t):
    sizes, B, seed = case
    epoch = epoch_of(sizes, t, B)
    assert epoch_start(sizes, epoch, B) <= t < epoch_start(sizes, epoch + 1, B)
    one, two = (batch_ids(make_groups(sizes), seed, t, B) for _ in range(2))
    assert one.epoch == two.epoch == epoch and one.bucket == two.bucket
    np.testing.assert_array_equal(one.prompt_ids, two.prompt_ids)


@settings(max_examples=20, deadline=None)
@given(cases)
def test_epochs_hold_their_share_of_every_bucket(case):
    sizes, B, seed = case
    groups = make_groups(sizes)
    buckets = Counter()
    for epoch in range(4):
        for t in range(epoch_start(sizes, epoch, B), epoch_start(sizes, epoch + 1, B)):
            batch = batch_ids(groups, seed, t, B)
            assert batch.epoch == epoch
            buckets[batch.bucket] += 1
        assert all(buckets[k] == math.ceil((epoch + 1) * n / B) for k, n in enumerate(sizes))


@settings(max_examples=20, deadline=None)
@given(cases)
def test_the_share_of_the_data_passed_grows_and_is_whole_between_epochs(case):
    sizes, B, _ = case
    passed = [epochs_passed(sizes, t, B) for t in range(epoch_start(sizes, 3, B) + 1)]
    assert passed[0] == 0 and passed[-1] >= 3
    assert all(a < b for a, b in zip(passed, passed[1:], strict=False))
    assert all(int(p) == epoch_of(sizes, t, B) for t, p in enumerate(passed))


def test_by_hand():
    """Three and four examples in batches of two: 2 + 2 batches in epoch 0, 1 + 2 in epoch 1."""
    groups = [np.array([0, 2, 4]), np.array([1, 3, 5, 6])]
    assert [epoch_start([3, 4], e, 2) for e in range(4)] == [0, 4, 7, 11]
    assert [epochs_passed([3, 4], t, 2) for t in (0, 1, 2, 4, 5, 7)] == [0, 0.25, 0.5, 1, 1 + 1 / 3, 2]
    batches = [batch_ids(groups, 5, t, 2) for t in range(7)]
    assert [b.epoch for b in batches] == [0, 0, 0, 0, 1, 1, 1]
    odd = np.concatenate([b.indices for b in batches if b.bucket == 0])
    assert sorted(odd[:3]) == sorted(odd[3:]) == [0, 2, 4]
    ids = np.concatenate([b.prompt_ids for b in batches if b.bucket == 0])
    assert ids.tolist() == [*odd[:3], *(7 + odd[3:])]


def test_order_is_pinned():
    """Written down once: a change of this order would break the resume of stored runs."""
    batches = [batch_ids([np.arange(0, 6), np.arange(6, 10)], 0, t, 3) for t in (0, 1, 2, 50)]
    assert [(b.bucket, b.indices.tolist(), b.epoch) for b in batches] == [
        (1, [6, 9, 7], 0),
        (1, [8, 7, 6], 0),
        (0, [0, 3, 5], 0),
        (1, [9, 6, 7], 15),
    ]


def test_seed_and_epoch_change_the_order():
    groups = [np.arange(50)]
    first = batch_ids(groups, 0, 0, 50).indices
    assert not np.array_equal(first, np.arange(50))
    assert not np.array_equal(first, batch_ids(groups, 1, 0, 50).indices)
    assert not np.array_equal(first, batch_ids(groups, 0, 1, 50).indices)


def test_buckets_are_mixed_within_an_epoch():
    groups = [np.arange(0, 100), np.arange(100, 200)]
    turns = [batch_ids(groups, 0, t, 5).bucket for t in range(40)]
    changes = sum(a != b for a, b in zip(turns, turns[1:], strict=False))
    assert 10 < changes < 30


def test_impossible_requests():
    with pytest.raises(ValueError, match="no example"):
        batch_ids([np.arange(0)], 0, 0, 4)
    with pytest.raises(ValueError, match="batch size 0"):
        batch_ids([np.arange(3)], 0, 0, 0)
    with pytest.raises(OverflowError, match="int32"):
        batch_ids([np.arange(10)], 0, 2**31 // 10, 10)
