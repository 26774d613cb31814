"""The stopwatch of a step, with a clock that the test turns."""

import jax.numpy as jnp
import pytest

from rrft_jax.run.clock import Clock, covered
from rrft_jax.run.profiler import parse_steps


class Hands:
    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def test_phases_add_up_and_gaps_are_of_no_step():
    hands = Hands()
    with Clock(hands) as clock:
        for gap in (0, 50 + 7):  # what follows the last phase is no part of a step, either
            hands.time += 50  # evaluation, checkpoints
            clock.start()
            for name, seconds in (("data", 1), ("rollout", 4), ("reward", 2), ("update", 3), ("reward", 0.5)):
                hands.time += seconds
                clock.lap(name)
            times = clock.finish()
            hands.time += 7
            assert times == {
                "step_time": 10.5, "timing/data": 1, "timing/rollout": 4, "timing/reward": 2.5, "timing/update": 3,
                "timing/idle_share": 1.0, "between_steps": gap,
            }  # fmt: skip


def test_idle_is_what_no_program_covers():
    hands = Hands()
    with Clock(hands) as clock:
        hands.time += 1
        clock.watch(jnp.ones(2))
        while not clock._runs[0][1].done():
            pass
        hands.time += 3  # this program was done at once
        clock.lap("rollout")
        assert clock.finish()["timing/idle_share"] == 1.0


@pytest.mark.parametrize(
    ("intervals", "length"), [([], 0), ([(1, 3)], 2), ([(4, 6), (1, 3), (2, 5)], 5), ([(1, 9), (2, 3), (8, 10)], 9)]
)
def test_covered(intervals, length):
    assert covered(intervals) == length


def test_steps_to_trace():
    assert [list(parse_steps(text)) for text in ("", "3", "10,12")] == [[], [3], [10, 11, 12]]
    for text in ("a", "3,2", "0", "1,2,3", "-1"):
        with pytest.raises(ValueError, match=f"--profile_steps={text}: "):
            parse_steps(text)
