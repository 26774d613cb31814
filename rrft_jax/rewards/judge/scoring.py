"""From verdicts to numbers, pure functions."""

from rrft_jax.rewards.judge.parsing import TIE, A, B
from rrft_jax.rewards.judge.rubric import Rubric

_SWAPPED = {A: B, B: A, TIE: TIE, None: None}
_VALUE = {A: 1.0, B: 0.0, TIE: 0.5, None: 0.5}


def unit(score: float, rubric: Rubric) -> float:
    """A score of the rubric's scale in [0, 1]: (score - low) / (high - low)."""
    return (score - rubric.low) / (rubric.high - rubric.low)


def swapped(winner: str | None) -> str | None:
    """The winner as it is called in the other order of the responses."""
    return _SWAPPED[winner]


def preference(*winners: str | None) -> float:
    """How far the first response is preferred: 1, 0, or 0.5 for a tie, no verdict, or orders that disagree.

    winners: one verdict, or those of both orders, the second called by the first one's names (`swapped`).
    """
    return _VALUE[winners[0]] if len(set(winners)) == 1 else 0.5
