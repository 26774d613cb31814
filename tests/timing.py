"""Limits of time and memory that hold on a busy and on a slow machine."""

import functools
import gc
import time
from collections.abc import Callable

TRIES = 3


def within(limit_s: float, do: Callable, *arguments):
    """What `do(*arguments)` returns or raises; fails where each of three tries takes `limit_s` of processor time.

    Only this thread's time counts, and no garbage collection: a process that is many tests old collects for a second,
    whichever test it happens to meet. A limit of ten times what an idle machine takes leaves room for a slow one.
    """
    for _ in range(TRIES):
        collects = gc.isenabled()
        gc.disable()
        start = time.thread_time()
        try:
            result, error = do(*arguments), None
        except Exception as caught:  # a refusal has its limit of time, too
            result, error = None, caught
        finally:
            took = time.thread_time() - start
            gc.enable() if collects else None
        if took < limit_s:
            if error is not None:
                raise error
            return result
    raise AssertionError(f"{took:.2f} s of processor time in the last of {TRIES} tries, where {limit_s} s are allowed")


def tried_again(test):
    """A test of real time or of memory, which the machine may disturb in one run: it fails if three tries do."""

    @functools.wraps(test)
    def tries(**fixtures):
        for _ in range(TRIES - 1):
            try:
                return test(**fixtures)
            except Exception:
                pass
        return test(**fixtures)

    return tries
