import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.evaluation.adaptation import Adaptation, adaptation

# Read off the published curves of RL from the base model on counting, per cent.
ID = [(0, 84), (10, 35), (20, 43), (30, 67), (40, 76), (60, 94), (80, 91), (120, 94.5), (160, 93)]
OOD = [(0, 34), (10, 17.5), (20, 22.5), (30, 34), (40, 30), (60, 44.5), (66, 40), (120, 54), (160, 52)]


def test_published_curves():
    assert adaptation(ID) == Adaptation(gap=49, lowest_step=10, recovery_step=60)
    assert adaptation(OOD) == Adaptation(gap=16.5, lowest_step=10, recovery_step=30)


def test_by_hand():
    assert adaptation([(0, 0.5), (10, 0.6), (20, 0.3), (30, 0.3), (40, 0.49)]) == Adaptation(0.5 - 0.3, 20, None)
    assert adaptation([(0, 0.5), (10, 0.4), (20, 0.6), (30, 0.2), (40, 0.5)]).recovery_step == 40  # after the lowest
    assert adaptation([(0, 0.5), (10, 0.6)]) == adaptation([(0, 0.5)]) == Adaptation(0.0, 0, 0)  # nothing was lost
    assert adaptation([(20, 0.6), (0, 0.5), (10, 0.1)]) == Adaptation(0.4, 10, 20)  # in any order


@pytest.mark.parametrize("curve", [[], [(0, 0.5), (0, 0.6)], [(0, 0.5), (10, float("nan"))]])
def test_no_curve(curve):
    with pytest.raises(ValueError, match="one accuracy for each of its steps"):
        adaptation(curve)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_what_the_numbers_mean(accuracies):
    found = adaptation(enumerate(accuracies))
    assert found.gap == accuracies[0] - accuracies[found.lowest_step] >= 0
    assert accuracies[found.lowest_step] == min(accuracies)
    later = [a for t, a in enumerate(accuracies) if t >= found.lowest_step and a >= accuracies[0]]
    assert (found.recovery_step is None) == (not later)
    if found.recovery_step is not None:
        assert accuracies[found.recovery_step] >= accuracies[0]
        assert all(a < accuracies[0] for a in accuracies[found.lowest_step : found.recovery_step])
