"""Batches come in order from threads, restart at any number, and fail with their number."""

import threading
import time

import pytest

from rrft_jax.data.loader import make_loader


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_in_order_whatever_the_threads_do(threads):
    def fetch(t):
        time.sleep(0.004 * (t % 3 == 0))  # later batches are ready before earlier ones
        return {"t": t, "square": t * t}

    batches = list(make_loader(fetch, 2, 14, prefetch=4, threads=threads))
    assert batches == [{"t": t, "square": t * t} for t in range(2, 14)]


def test_a_restart_needs_only_the_number():
    whole = list(make_loader(lambda t: t * 3, 0, 10, prefetch=2, threads=2))
    first = make_loader(lambda t: t * 3, 0, 10, prefetch=2, threads=2)
    taken = [next(first) for _ in range(4)]
    assert taken + list(make_loader(lambda t: t * 3, 4, 10, prefetch=2, threads=2)) == whole
    assert list(make_loader(lambda t: t, 10, 10, prefetch=2, threads=2)) == []


def test_an_error_names_its_batch_and_comes_in_its_place():
    def fetch(t):
        if t == 5:
            raise ValueError("image is torn")
        return t

    batches = make_loader(fetch, 3, 9, prefetch=8, threads=2)
    assert [next(batches), next(batches)] == [3, 4]
    with pytest.raises(RuntimeError, match="batch 5 could not be made: image is torn") as error:
        next(batches)
    assert isinstance(error.value.__cause__, ValueError)


def test_prefetch_is_bounded_and_none_is_a_batch():
    asked, lock = [], threading.Lock()

    def fetch(t):
        with lock:
            asked.append(t)
        return None

    batches = make_loader(fetch, 0, 100, prefetch=3, threads=2)
    assert next(batches) is None
    time.sleep(0.1)
    assert max(asked) <= 3
