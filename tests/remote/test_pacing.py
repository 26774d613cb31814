"""Rates, pauses and waits on a clock of our own."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.remote.pacing import Pace, backoff, retry_after


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds


def starts(per_minute, count, act=lambda pace, k: None):
    async def run():
        clock, times = Clock(), []
        pace = Pace(per_minute, clock, clock.sleep)
        for k in range(count):
            act(pace, k)
            await pace.turn()
            times.append(clock.now - 100)
        return times

    return asyncio.run(run())


def test_starts_are_spread_evenly():
    assert starts(30, 4) == pytest.approx([0, 2, 4, 6])
    assert starts(0, 4) == [0, 0, 0, 0]


def test_a_pause_holds_everyone_and_the_rate_goes_on_after_it():
    hold = lambda pace, k: pace.hold(10) if k == 1 else pace.hold(1) if k == 2 else None  # noqa: E731
    assert starts(30, 4, hold) == pytest.approx([0, 10, 12, 14])
    assert starts(0, 3, hold) == pytest.approx([0, 10, 11])


@settings(deadline=None)
@given(st.integers(1, 2000), st.floats(0, 1))
def test_waits_double_up_to_the_longest(failures, draw):
    wait = backoff(failures, 2.0, 60.0, lambda: draw)
    full = min(60.0, 2.0 * 2 ** (min(failures, 10) - 1))
    assert full / 2 <= wait <= full


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0), ("Wed, 21 Oct 2015 07:28:30 +99999999999999", None), ("7", 7.0), (" 1.5 ", 1.5), ("-3", 0.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0), ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("nan", None), ("inf", None), ("soon", None), ("", None), (None, None),
    ],
)  # fmt: skip
def test_retry_after(value, seconds):
    now = datetime(2015, 10, 21, 7, 28, 0, tzinfo=UTC)
    assert retry_after({} if value is None else {"retry-after": value}, now) == seconds
