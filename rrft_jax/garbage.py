"""What Python's garbage collector need not look at."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_for_good() -> Iterator[None]:
    """For imports: what they make stays, so nothing is collected among it, now or later.

    The libraries of a run are a million objects. Tracing a program makes so many more that the collector would go
    through all of them again and again, a fifth of the time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
