"""What Python's garbage collector need not look at."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_for_good() -> Iterator[None]:
    """For imports: what they make stays, so the collector is off inside, and never looks at it later.

    The libraries of a run are a quarter of a million objects that it watches. Tracing a program makes so many more
    that it would go through all of them again and again. Whatever else is alive at the end is left alone, too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
