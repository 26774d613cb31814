"""When the next request may go out: a rate, pauses that a server asks for, and growing waits after failures."""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


class Pace:
    """One gate for all requests of a run, within one event loop. per_minute: starts, evenly spread; 0: no limit.
    clock: seconds; sleep: waits for seconds."""

    def __init__(
        self,
        per_minute: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable] = asyncio.sleep,
    ):
        self._interval = 60 / per_minute if per_minute else 0.0
        self._clock, self._sleep = clock, sleep
        self._next = self._held = -math.inf
        self._lock = asyncio.Lock()

    async def turn(self) -> None:
        """Returns when one more request may start."""
        async with self._lock:
            while (wait := max(self._next, self._held) - self._clock()) > 0:
                await self._sleep(wait)
            self._next = self._clock() + self._interval

    def hold(self, seconds: float) -> None:
        """Nothing starts for so long: a server that is over its limit is so for every request."""
        self._held = max(self._held, self._clock() + seconds)


def backoff(failures: int, first: float, longest: float, draw: Callable[[], float] = random.random) -> float:
    """Seconds to wait after so many failures (1, 2, ...) of one request: doubling from `first` up to `longest`, and of
    that a random share between one half and one, so that requests that failed together do not return together."""
    return min(longest, first * 2.0 ** min(failures - 1, 60)) * (0.5 + 0.5 * draw())


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or a date (RFC 9110, 10.2.3); None without a usable one.
    headers: names in any case, if the mapping ignores it."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except (ValueError, OverflowError):  # the last: an offset of more hours than fit
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        seconds = (at - (now or datetime.now(UTC))).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None
