"""Scoring completions on the host: each process its own rows, statistics and metrics of all of them."""

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from ml_collections import ConfigDict

from rrft_jax.answers.tags import opens_thought
from rrft_jax.parallel.layout import Layout
from rrft_jax.parallel.processes import is_writer
from rrft_jax.processing.processor import Processor, decode
from rrft_jax.rewards import Pool, RewardSet
from rrft_jax.rewards.base import Planned
from rrft_jax.rewards.by_task import by_task
from rrft_jax.rewards.chosen import chosen_rewards
from rrft_jax.rewards.registry import REWARDS
from rrft_jax.rewards.values import Weighted
from rrft_jax.run.completions import Group
from rrft_jax.tasks.registry import Task
from rrft_jax.training.batches import HostBatch


def make_rewards(
    config: ConfigDict, task: Task, tokenizer: Callable, pool: Pool | None = None, base: Planned | None = None,
    also: tuple[str, ...] = (),
) -> RewardSet:  # fmt: skip
    """The rewards that config asks for, those that held-out evaluation reads, and the registered ones of `also`. base:
    the frozen model of the run, or what is known of it. Raises ValueError."""
    tokenize = lambda texts: tokenizer(list(texts)).input_ids  # noqa: E731
    metrics = {part.metric for part in task.parts.values()} or {task.metric}
    always = (*sorted(metrics), "format", *also)
    found = chosen_rewards(
        config.rewards, config.extra_rewards, config.reward_options.to_dict(), always=always,
        tokenize=tokenize, max_completion_length=config.rollout.max_completion_length, pool=pool, base=base,
    )  # fmt: skip
    return _of_parts(found, task) if task.parts else found


def right_reward(
    config: ConfigDict, task: Task, tokenizer: Callable, base: Planned, pool: Pool | None = None
) -> RewardSet:
    """The one reward whose value 1 is a right rollout for the filter, config.data.filter_reward or the task's metric;
    the other parameters are those of `make_rewards`. ValueError where there is no such reward."""
    name = config.data.filter_reward or task.metric
    found = make_rewards(config, task, tokenizer, pool, base, also=(name,) if name in REWARDS else ())
    if name not in (item.name for item in found.rewards):
        near = difflib.get_close_matches(name, REWARDS, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "name a registered one, or one of --reward"
        raise ValueError(f"config.data.filter_reward={name}: there is no such reward; {hint}")
    return found.only(name)


def _of_parts(rewards: RewardSet, task: Task) -> RewardSet:
    """Those of a mixture: what only some of its tasks have applies to their examples alone, and its metric is that of
    the example's own task."""
    items, of = [], {item.name: item.reward for item in rewards.rewards}
    for item in rewards.rewards:
        own = [name for name, part in task.parts.items() if item.name in (part.metric, *part.rewards)]
        gated = own and len(own) < len(task.parts)
        items.append(replace(item, reward=by_task(dict.fromkeys(own, item.reward))) if gated else item)
    right = by_task({name: of[part.metric] for name, part in task.parts.items()})
    return replace(rewards, rewards=(*items, Weighted(task.metric, right, 0.0)))


@dataclass(frozen=True)
class RewardResults:
    """What the reward functions returned for a whole batch, kept because they may not be called again: values
    float64[F, B, G] of each, total float32[B, G] (NaN: none), text_metrics name: (sum, count), and how many calls
    failed."""

    values: Float[np.ndarray, "F B G"]
    total: Float[np.ndarray, "B G"]
    text_metrics: dict[str, tuple[float, float]]
    failures: int


@dataclass(frozen=True)
class _Part:
    """The real rows that one process owns, n of them with g members each: rows int64[n], values float64[F, n, g], total
    float32[n, g] (NaN: no reward), lengths int[n, g], finished bool[n, g], texts n * g of them."""

    names: tuple[str, ...]
    rows: np.ndarray
    values: np.ndarray
    total: np.ndarray
    lengths: np.ndarray
    finished: np.ndarray
    texts: list[str]
    text_metrics: dict[str, tuple[float, float]]
    failures: int
    prompt_tokens: int


def score_part(
    processor: Processor,
    rewards: RewardSet,
    host: HostBatch,
    tokens: Int[np.ndarray, "r g C"],
    mask: Bool[np.ndarray, "r g C"],
    finished: Bool[np.ndarray, "r g"],
    t: int,
    known: RewardResults | None,
) -> _Part:
    """tokens, mask [r, g, C] and finished [r, g] of this process's rows; known: results of an earlier session."""
    names = tuple(item.name for item in rewards.rewards)
    own = np.flatnonzero((host.row_weight > 0) & host.layout.owned)
    g = tokens.shape[1]
    texts = [decode(processor, row) for row in tokens[own].reshape(len(own) * g, -1)]
    bare = [host.examples[i].without_images() for i in own]
    values, total, text_metrics, failures = np.zeros((len(names), 0)), np.zeros(0, np.float32), {}, 0
    if known is not None:
        numbers = host.layout.mine[own]
        by_row = lambda x: x.reshape(*x.shape[:-2], host.layout.prompts * host.layout.split, -1)  # noqa: E731
        values, total = by_row(known.values)[:, numbers], by_row(known.total)[numbers]
        if is_writer():  # of the whole batch: one part carries them
            text_metrics, failures = known.text_metrics, known.failures
    elif texts:
        groups = host.layout.prompt_of[own].repeat(g).tolist()
        scored = rewards.score(texts, [e for e in bare for _ in range(g)], groups, t)
        values, total = scored.values, np.array(scored.total, np.float32)
        # A sum over the functions that happened to answer would rank a failed check as a wrong answer.
        total[list(scored.unscored)] = np.nan
        text_metrics, failures = dict(scored.metrics), len(scored.failures)
    first_rows = own[host.layout.mine[own] % host.layout.split == 0]
    return _Part(
        names, host.layout.mine[own], values.reshape(len(names), -1, g), total.reshape(-1, g), mask[own].sum(-1),
        finished[own], texts, text_metrics, failures, int(host.prompts.token_mask[first_rows].sum()),
    )  # fmt: skip


@dataclass(frozen=True)
class _Whole:
    """All rows, by prompt: live bool[B'], values float64[F, B', G], total float32[B', G], lengths, finished, reasons
    [B', G], texts by prompt; B' counts prompts that only fill the batch too."""

    live: np.ndarray
    values: np.ndarray
    total: np.ndarray
    lengths: np.ndarray
    finished: np.ndarray
    reasons: np.ndarray
    texts: np.ndarray
    text_metrics: dict[str, tuple[float, float]]

    def first_members(self, n: int) -> "_Whole":
        """Of every group the first n members."""
        fields = ("total", "lengths", "finished", "reasons", "texts")
        return replace(self, values=self.values[:, :, :n], **{name: getattr(self, name)[:, :n] for name in fields})


def merge_parts(parts: Sequence[_Part], layout: Layout, G: int) -> _Whole:
    rows = np.concatenate([part.rows for part in parts])
    by_prompt = lambda x: x.reshape(layout.rows // layout.split, G)  # noqa: E731

    def spread(fill: float, dtype: Any, name: str) -> np.ndarray:
        out = np.full((layout.rows, G // layout.split), fill, dtype)
        out[rows] = np.concatenate([getattr(part, name) for part in parts])
        return by_prompt(out)

    texts = np.full((layout.rows, G // layout.split), "", object)
    texts[rows] = np.array([text for part in parts for text in part.texts], object).reshape(len(rows), -1)
    values = np.full((len(parts[0].names), *texts.shape), np.nan)
    values[:, rows] = np.concatenate([part.values for part in parts], axis=1)
    sums: dict[str, tuple[float, float]] = {}
    for part in parts:
        for name, (total, count) in part.text_metrics.items():
            before = sums.get(name, (0.0, 0.0))
            sums[name] = before[0] + total, before[1] + count
    texts = by_prompt(texts)
    return _Whole(
        live=np.arange(len(texts)) < layout.prompts,
        values=values.reshape(len(values), *texts.shape),
        total=spread(np.nan, np.float32, "total"),
        lengths=spread(0, np.int64, "lengths"),
        finished=spread(False, bool, "finished"),
        reasons=np.vectorize(opens_thought, otypes=[bool])(texts),
        texts=texts,
        text_metrics=sums,
    )


def reward_metrics(names: Sequence[str], values: Float[np.ndarray, "F N"]) -> dict[str, float]:
    """Mean and standard deviation (ddof 1) of each reward function over the values that exist; values [F, N]."""
    metrics = {}
    for name, row in zip(names, values, strict=True):
        row = row[~np.isnan(row)]
        metrics[f"rewards/{name}/mean"] = float(row.mean()) if len(row) else float("nan")
        metrics[f"rewards/{name}/std"] = float(row.std(ddof=1)) if len(row) > 1 else 0.0
    return metrics


def length_metrics(lengths: Int[np.ndarray, " N"], finished: Bool[np.ndarray, " N"]) -> dict[str, float]:
    """Completion lengths in tokens, all of them and of those that ended by themselves (0 where none did)."""
    ended = lengths[finished]
    return {
        "completions/mean_length": float(lengths.mean()),
        "completions/min_length": float(lengths.min()),
        "completions/max_length": float(lengths.max()),
        "completions/clipped_ratio": float(1 - finished.mean()),
        "completions/mean_terminated_length": float(ended.mean()) if len(ended) else 0.0,
        "completions/min_terminated_length": float(ended.min()) if len(ended) else 0.0,
        "completions/max_terminated_length": float(ended.max()) if len(ended) else 0.0,
    }


def _of_rows(advantages: np.ndarray, lengths: np.ndarray) -> list[float | None]:
    """One number a completion: of advantages [G, C] the mean over its tokens; None where there is none."""
    if advantages.ndim == 2:
        advantages = advantages.sum(-1) / np.maximum(lengths, 1)
    return [None if np.isnan(a) else float(a) for a in advantages]


def duplicate_ratio(texts: np.ndarray) -> float:
    """Share of the completions, object[B, G], that equal another one of their group."""
    counts = [Counter(group) for group in texts.tolist()]
    return sum(n for count in counts for n in count.values() if n > 1) / texts.size


def logged_groups(
    config: ConfigDict,
    host: HostBatch,
    names: Sequence[str],
    everything: _Whole,
    advantages: np.ndarray,
) -> list[Group]:
    missing = lambda row: [None if np.isnan(v) else float(v) for v in row]  # noqa: E731
    wanted = min(config.log.completions_prompts, host.layout.prompts)
    mine = {}  # the row of each logged prompt whose first row is here
    for i, row in enumerate(host.layout.mine.tolist()):
        if row % host.layout.split == 0 and row // host.layout.split < wanted and host.layout.owned[i]:
            mine[row // host.layout.split] = i
    return [
        Group(
            prompt_id=int(host.prompts.prompt_id[i]),
            example_id=host.examples[i].id,
            prompt=host.texts[i],
            answer=host.examples[i].answer,
            completions=list(everything.texts[b]),
            images=host.examples[i].images,
            rewards={name: missing(everything.values[k, b]) for k, name in enumerate(names)},
            reward=missing(everything.total[b]),
            advantages=_of_rows(advantages[b], everything.lengths[b]),
            lengths=everything.lengths[b].tolist(),
            finished=everything.finished[b].tolist(),
            task=host.examples[i].task,
            metadata=host.examples[i].metadata,
        )
        for b, i in mine.items()
    ]
