"""From prompts to a scored batch: sample, score on the host while the reference pass runs, advantages."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.losses.advantages import group_advantages
from rrft_jax.losses.terms import Targets
from rrft_jax.models.prompts import Prompts
from rrft_jax.parallel.layout import Layout
from rrft_jax.parallel.processes import exchange, is_writer, local_rows
from rrft_jax.processing.processor import Processor, decode
from rrft_jax.rewards import RewardSet
from rrft_jax.rollout.sampler import Rollouts
from rrft_jax.training.completions import Group
from rrft_jax.training.forward import Batch
from rrft_jax.training.programs import Programs, scored_temperature, to_devices
from rrft_jax.training.source import HostBatch
from rrft_jax.training.timing import Clock

Ready = tuple[Batch, dict[str, float], list[Group]]  # device batch, metrics, completions for the log
# One small program instead of some fifty that are compiled one by one.
_advantages = jax.jit(group_advantages, static_argnames=("scale", "ddof", "epsilon"))


@dataclass(frozen=True)
class Drawn:
    """What the devices make of the host batch of step t (0-based), dispatched and perhaps not there yet: its prompts,
    their completions, and the reference's log-probs of these, float32[B, G, C], None where there is no KL penalty.

    With config.rollout.ahead, rollouts.log_probs are those of the law that the loss scores.
    """

    host: HostBatch
    t: int
    prompts: Prompts
    rollouts: Rollouts
    reference: jax.Array | None


@dataclass(frozen=True)
class Verdicts:
    """What the reward functions said about a whole batch, and cannot be asked again: values float64[F, B, G] of each,
    total float32[B, G] (NaN: none), text_metrics name: (sum, count), and how many calls failed."""

    values: np.ndarray
    total: np.ndarray
    text_metrics: dict[str, tuple[float, float]]
    failures: int


@dataclass(frozen=True)
class Scored:
    """The batch a train step takes, its metrics under TRL's names, completions for the log, and the verdicts."""

    batch: Batch
    metrics: dict[str, float]
    groups: list[Group]
    verdicts: Verdicts

    def ready(self) -> Ready:
        return self.batch, self.metrics, self.groups


def draw_batch(
    config: ConfigDict,
    programs: Programs,
    mesh: Mesh,
    params: dict,
    reference_params: dict | None,
    host: HostBatch,
    t: int,
    clock: Clock,
    stored: Rollouts | None = None,
) -> Drawn:
    """Dispatches the rollouts of step t with `params`, and the reference pass.

    reference_params: None where the loss has no KL penalty; the reference pass is left out, and the metric kl with it.
    stored: what `by_prompt` gave of those that an earlier session drew, in place of new ones.
    """
    layout, G = host.layout, config.rollout.group
    prompts = to_devices(host.prompts, mesh)
    if stored is not None:
        rollouts = _on_rows(stored, layout, mesh)
    else:
        key = jax.random.fold_in(jax.random.key(config.seed), t)
        first = (to_devices(layout.first_member(G), mesh),) if layout.split > 1 else ()
        rollouts = programs.sample(params, prompts, key, *first)
        clock.watch(rollouts.tokens)
        if config.rollout.ahead and not samples_what_it_scores(config):
            old = programs.reference(params, prompts, rollouts.tokens, rollouts.mask)
            clock.watch(old)
            rollouts = replace(rollouts, log_probs=old)
    reference = None
    if reference_params is not None:
        reference = programs.reference(reference_params, prompts, rollouts.tokens, rollouts.mask)
        clock.watch(reference)
    return Drawn(host, t, prompts, rollouts, reference)


def by_prompt(drawn: Drawn) -> Rollouts:
    """Numpy arrays [B, G, ...] of the whole batch in every process, without what only fills it; a collective."""
    layout = drawn.host.layout
    own = np.flatnonzero((drawn.host.row_weight > 0) & layout.owned)
    mine = jax.tree.map(lambda x: local_rows(x, layout.mine)[own], drawn.rollouts)
    rows, parts = zip(*exchange((layout.mine[own], mine)), strict=True)
    order = np.argsort(np.concatenate(rows))
    return jax.tree.map(
        lambda *x: np.concatenate(x)[order].reshape(layout.prompts, -1, *x[0].shape[2:]), parts[0], *parts[1:]
    )


def _on_rows(stored: Rollouts, layout: Layout, mesh: Mesh) -> Rollouts:
    """The inverse of `by_prompt`, on the devices there are now; rows that only fill the batch repeat its prompts."""
    number = layout.prompt_of % layout.prompts * layout.split + layout.mine % layout.split
    rows = lambda x: x.reshape(layout.prompts * layout.split, -1, *x.shape[2:])[number]  # noqa: E731
    return to_devices(jax.tree.map(rows, stored), mesh)


def samples_what_it_scores(config: ConfigDict) -> bool:
    """Whether the sampler's log-probs at temperature 1 under the vocabulary law are those that the loss scores."""
    return scored_temperature(config) == 1 and not config.loss.full_softmax


def score_batch(
    config: ConfigDict,
    processor: Processor,
    rewards: RewardSet,
    mesh: Mesh,
    clock: Clock,
    drawn: Drawn,
    known: Verdicts | None = None,
) -> Scored:
    """Waits for the tokens and scores them on the host. known: verdicts of an earlier session; nothing is asked then.

    A completion whose reward is missing takes no part: not in its group's statistics, and with advantage 0. Each
    process decodes and scores its own rows; statistics and metrics are of all of them, alike everywhere, and the
    completions are those of the logged prompts that this process holds.
    """
    host, rollouts = drawn.host, drawn.rollouts
    layout, G = host.layout, config.rollout.group
    tokens, mask, finished = (local_rows(x, layout.mine) for x in (rollouts.tokens, rollouts.mask, rollouts.finished))
    clock.lap("rollout")

    own = _score(processor, rewards, host, tokens, mask, finished, drawn.t, known)
    parts = exchange(own)
    everything = _merge(parts, layout, G)
    clock.lap("reward")  # before the device is asked, which may be busy with an update
    failures = sum(part.failures for part in parts)
    row_weight = np.broadcast_to(everything.live[:, None], everything.total.shape).astype(np.float32)
    advantages, stats = _advantages(everything.total, row_weight=row_weight, **config.advantages)
    advantages = np.asarray(advantages)

    by_row = lambda x: np.ascontiguousarray(x.reshape(layout.rows, -1)[layout.mine])  # noqa: E731
    batch = _batch(config, mesh, drawn, by_row(row_weight), by_row(advantages))
    live = everything.live
    lengths = everything.lengths[live].reshape(-1)
    metrics = {
        **{name: float(value) for name, value in stats.items()},
        **reward_metrics(own.names, everything.values[:, live].reshape(len(own.names), -1)),
        **{name: total / count for name, (total, count) in everything.text_metrics.items()},
        "reward_error": float(failures),
        **length_metrics(lengths, everything.finished[live].reshape(-1)),
        "completions/reasons": float(np.mean(everything.reasons[live])),
        # As TRL counts: the prompt once for each completion, although it is computed once for the group.
        "num_tokens": int(lengths.sum()) + G * sum(part.prompt_tokens for part in parts),
    }
    verdicts = Verdicts(everything.values[:, live], everything.total[live], everything.text_metrics, failures)
    return Scored(batch, metrics, _groups(config, host, own.names, everything, advantages), verdicts)


def unscored_batch(config: ConfigDict, mesh: Mesh, drawn: Drawn) -> Batch:
    """The batch of `score_batch` in shapes, dtypes and shardings, with zeros for what scoring decides.

    It waits for nothing: the train step can be lowered with it while the devices still draw.
    """
    layout = drawn.host.layout
    zeros = np.zeros((len(layout.mine), config.rollout.group // layout.split), np.float32)
    return _batch(config, mesh, drawn, zeros, zeros)


def _batch(config: ConfigDict, mesh: Mesh, drawn: Drawn, row_weight: np.ndarray, advantages: np.ndarray) -> Batch:
    """row_weight, advantages: float32[r, g] of this process's rows."""
    rollouts = drawn.rollouts
    weighted = to_devices({"row_weight": row_weight, "advantages": advantages}, mesh)
    targets = Targets(
        rollouts.mask, **weighted, old_log_probs=rollouts.log_probs if config.rollout.ahead else None,
        ref_log_probs=drawn.reference, sampling_log_probs=rollouts.sampled_log_probs,
    )  # fmt: skip
    return Batch(drawn.prompts, rollouts.tokens, rollouts.mask, targets)


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


def _score(processor, rewards, host, tokens, mask, finished, t, known) -> _Part:
    """tokens, mask [r, g, C] and finished [r, g] of this process's rows; known: the verdicts, where there are some."""
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


def _merge(parts: Sequence[_Part], layout: Layout, G: int) -> _Whole:
    rows = np.concatenate([part.rows for part in parts])
    by_prompt = lambda x: x.reshape(layout.rows // layout.split, G)  # noqa: E731

    def spread(fill, dtype, name: str) -> np.ndarray:
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
        reasons=np.vectorize(lambda text: "<think>" in text, otypes=[bool])(texts),
        texts=texts,
        text_metrics=sums,
    )


def reward_metrics(names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    """Mean and standard deviation (ddof 1) of each reward function over the values that exist; values [F, N]."""
    metrics = {}
    for name, row in zip(names, values, strict=True):
        row = row[~np.isnan(row)]
        metrics[f"rewards/{name}/mean"] = float(row.mean()) if len(row) else float("nan")
        metrics[f"rewards/{name}/std"] = float(row.std(ddof=1)) if len(row) > 1 else 0.0
    return metrics


def length_metrics(lengths: np.ndarray, finished: np.ndarray) -> dict[str, float]:
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


def _groups(config, host, names, everything, advantages) -> list[Group]:
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
            advantages=[float(a) for a in advantages[b]],
        )
        for b, i in mine.items()
    ]
