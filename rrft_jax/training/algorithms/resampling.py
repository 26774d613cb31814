"""DAPO's dynamic sampling (arXiv 2503.14476, equation 11): groups that teach nothing are replaced by further prompts.

A group teaches where its rewards differ; where they are all equal, whatever they are, every advantage is 0. Batch t may
draw from N + 1 batches of the order of prompts, t (N + 1) ... t (N + 1) + N, one after the other until B groups teach:
places of the order alone say what is drawn, so a resume needs no count of what was.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
from absl import logging

from rrft_jax.parallel.processes import run_on_all
from rrft_jax.rollout.sampler import Rollouts
from rrft_jax.run.clock import Clock
from rrft_jax.training.batches import HostBatch
from rrft_jax.training.feed import InFlight, RolloutFeed
from rrft_jax.training.rewarding import RewardResults
from rrft_jax.training.rollouts import Drawn, Scored, by_prompt


def teaching(total: np.ndarray) -> np.ndarray:
    """bool[B]: groups with two rewards that differ; total float32[B, G], NaN where there is none.

    By their spread, not by their mean: rewards of several parts can be equal at any value.
    """
    there = ~np.isnan(total)
    highest = np.where(there, total, -np.inf).max(-1)
    return highest > np.where(there, total, np.inf).min(-1)


def chosen_groups(teaches: np.ndarray, count: int) -> np.ndarray:
    """int64[count]: the first groups that teach, of all that were drawn, and where they are too few the first others;
    in the order in which they were drawn."""
    numbers = np.concatenate([np.flatnonzero(teaches), np.flatnonzero(~teaches)])
    return np.sort(numbers[:count])


@dataclass(frozen=True)
class _Kept:
    """The groups of one draw: places of the order int64[B], rollouts by prompt, and the results of their rewards."""

    picks: np.ndarray
    rollouts: Rollouts
    results: RewardResults


class ResampledFeed(RolloutFeed):
    """A `RolloutFeed` whose batches are gathered from up to `draws` batches of prompts.

    batches: the first batch of prompts of each step. fetch(t), pick(numbers): as a `Source` has them. members: of a
    group those whose rewards are compared; a greedy baseline comes after them.
    """

    def __init__(
        self,
        batches: Iterator[HostBatch],
        draw: Callable[..., Drawn],
        score: Callable[..., Scored],
        clock: Clock,
        *,
        fetch: Callable[[int], HostBatch],
        pick: Callable[[Sequence[int]], HostBatch],
        draws: int,
        members: int,
        **rest,
    ):
        super().__init__(batches, draw, score, clock, **rest)
        self._fetch, self._pick, self._draws, self._members = fetch, pick, draws, members
        self._picks = np.zeros(0, np.int64)

    def in_flight(self) -> InFlight | None:
        found = super().in_flight()
        return found and replace(found, picks=self._picks)

    def _first(self, params: dict, t: int) -> tuple[Drawn, Scored]:
        first, known, self._stored = self._next_host(), self._stored, None
        if first is None:
            raise ValueError(f"batch {t}: there are no prompts left")
        if known is not None and known.picks is not None:
            return self._gathered(params, t, _Kept(known.picks, known.rollouts, known.results))
        B, kept = first.layout.prompts, []
        for k in range(self._draws):
            number = t * self._draws + k
            host = first if k == 0 else run_on_all(lambda n=number: self._fetch(n))
            drawn = replace(self._draw(params, host, number), t=t)
            scored = self._score(drawn)
            kept.append(_Kept(np.arange(number * B, (number + 1) * B), by_prompt(drawn), scored.results))
            total = np.concatenate([each.results.total[:, : self._members] for each in kept])
            teaches = teaching(total)
            if teaches.sum() >= B:
                break
        counts = {
            "resample/batches": float(len(kept)),
            "resample/groups_with_spread": float(teaches.mean()),
            "resample/reward": float(np.nanmean(total)) if np.isfinite(total).any() else float("nan"),
        }
        if teaches.sum() < B:
            logging.warning(
                "batch %d: of %d groups in %d draws the rewards of %d differ, and %d are wanted; the others, whose "
                "mean reward is %.3g, teach nothing. Harder or easier prompts, or a higher config.rollout.resample, "
                "would give more", t, len(teaches), len(kept), teaches.sum(), B,
                np.nanmean(np.where(np.isnan(total[~teaches]), 0.0, total[~teaches])),
            )  # fmt: skip
        if len(kept) > 1:
            drawn, scored = self._gathered(params, t, _joined(kept, chosen_groups(teaches, B)))
        else:
            self._picks = kept[0].picks
        return drawn, replace(scored, metrics=scored.metrics | counts)

    def _gathered(self, params: dict, t: int, kept: _Kept) -> tuple[Drawn, Scored]:
        """The batch of these groups, with what was drawn and scored."""
        self._picks = kept.picks
        host = run_on_all(lambda: self._pick(kept.picks.tolist()))
        drawn = self._draw(params, host, t, kept.rollouts)
        return drawn, self._score(drawn, kept.results)


def _joined(kept: list[_Kept], numbers: np.ndarray) -> _Kept:
    """Groups `numbers` of all draws, one after the other; texts and failures are those of everything drawn."""
    join = lambda *x: np.concatenate(x)[numbers]  # noqa: E731
    results = [each.results for each in kept]
    sums: dict[str, tuple[float, float]] = {}
    for each in results:
        for name, (total, count) in each.text_metrics.items():
            before = sums.get(name, (0.0, 0.0))
            sums[name] = before[0] + total, before[1] + count
    return _Kept(
        join(*(each.picks for each in kept)),
        jax.tree.map(join, *(each.rollouts for each in kept)),
        RewardResults(
            np.concatenate([each.values for each in results], 1)[:, numbers], join(*(each.total for each in results)),
            sums, sum(each.failures for each in results),
        ),
    )  # fmt: skip
