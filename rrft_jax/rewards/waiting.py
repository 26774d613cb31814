"""Rewards that wait for something, such as a judge that a server runs: their coroutines, awaited together."""

import asyncio
import inspect
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class Waiter:
    """An event loop in a thread of its own, started by the first coroutine.

    It stays for the whole run, so that a client that a reward keeps between calls stays usable, and its coroutines
    advance while other rewards compute.
    """

    def __init__(self):
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(self, given: Any) -> Future:
        """Starts what a reward gave (`is_pending`); the future holds its values, as `await_values` says."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=_serve, args=(self._loop,), name="rewards", daemon=True).start()
            weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)
        return asyncio.run_coroutine_threadsafe(await_values(given), self._loop)


def is_async(reward: Callable) -> bool:
    """Whether calling a reward gives a coroutine, as far as its definition shows."""
    function = getattr(reward, "function", reward)  # of a TrlReward
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(function.__call__)


def is_pending(given: Any) -> bool:
    """Whether a reward gave something to await: a coroutine, or coroutines in its list."""
    return inspect.isawaitable(given) or isinstance(given, list | tuple) and any(map(inspect.isawaitable, given))


async def await_values(given: Any) -> Any:
    """The values, all coroutines awaited together. One in the list that raises leaves its exception in its place."""
    if inspect.isawaitable(given):
        given = await given
    if not is_pending(given):
        return given
    return await asyncio.gather(*map(_value, given), return_exceptions=True)


async def _value(entry: Any) -> Any:
    return await entry if inspect.isawaitable(entry) else entry


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()
