"""Batches fetched ahead of the device in threads, in order, with the batch number as the only state."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import grain

T = TypeVar("T")


def make_loader(fetch_batch: Callable[[int], T], start: int, stop: int, prefetch: int, threads: int) -> Iterator[T]:
    """Yields fetch_batch(t) for t = start ... stop - 1, in this order.

    fetch_batch: makes batch t from t alone. It is called from several threads at once and must not keep state or
        take part in a collective.
    start: where to begin; a resumed run passes the number of batches it has consumed, and that is all its state.
    prefetch, threads: batches held ready and threads that make them; 0 threads makes each batch when it is asked for.
    An exception in a thread surfaces as a RuntimeError that names its batch, once the batches before it are consumed.
    """

    def fetch(t: int) -> T:
        try:
            return fetch_batch(int(t))
        except Exception as e:
            raise RuntimeError(f"batch {t} could not be made: {e}") from e

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch if threads else 0)
    batches = grain.MapDataset.range(start, stop).map(fetch)
    return iter(batches.to_iter_dataset(options, allow_nones=True))
