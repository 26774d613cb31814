"""From prompts to a scored batch: sample, score on the host while the reference pass runs, advantages."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float
from ml_collections import ConfigDict

from rrft_jax.arrays import HostOrDevice
from rrft_jax.losses.outside import reads_greedy
from rrft_jax.losses.selection import top_entropy
from rrft_jax.losses.terms import Targets
from rrft_jax.models.prompts import Prompts
from rrft_jax.parallel.layout import Layout
from rrft_jax.parallel.placement import to_devices
from rrft_jax.parallel.processes import all_gather_objects, local_rows
from rrft_jax.processing.processor import Processor
from rrft_jax.rewards import RewardSet
from rrft_jax.rollout.sampler import Rollouts
from rrft_jax.run.clock import Clock
from rrft_jax.run.completions import Group
from rrft_jax.training.batches import HostBatch
from rrft_jax.training.programs import Programs, scored_temperature
from rrft_jax.training.rewarding import (
    RewardResults,
    duplicate_ratio,
    length_metrics,
    logged_groups,
    merge_parts,
    reward_metrics,
    score_part,
)
from rrft_jax.training.step import Batch

Ready = tuple[Batch, dict[str, float], list[Group]]  # device batch, metrics, completions for the log


@dataclass(frozen=True)
class Drawn:
    """The device arrays of the host batch of step t (0-based), dispatched and perhaps not computed yet: its prompts,
    their completions, and the reference's log-probs of these, float32[B, G, C], None without a KL penalty.

    Where the policy moves before the last update on them (`off_policy`), rollouts.log_probs are those of the
    distribution that the loss scores.
    """

    host: HostBatch
    t: int
    prompts: Prompts
    rollouts: Rollouts
    reference: Float[HostOrDevice, "B G C"] | None


@dataclass(frozen=True)
class Scored:
    """The batch a train step takes, its metrics under TRL's names, completions for the log, and the reward results."""

    batch: Batch
    metrics: dict[str, float]
    groups: list[Group]
    results: RewardResults

    def ready(self) -> Ready:
        return self.batch, self.metrics, self.groups


def completions_per_prompt(config: ConfigDict) -> int:
    """The completions of a prompt: config.rollout.group, and a last one decoded greedily where the estimator compares
    with its reward. That one takes no part in the loss."""
    return config.rollout.group + reads_greedy(config.advantages.estimator)


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
    stored: rollouts that an earlier session drew, as `by_prompt` returned them, in place of new ones.
    """
    layout, G = host.layout, completions_per_prompt(config)
    prompts = to_devices(host.prompts, mesh)
    if stored is not None:
        rollouts = _on_rows(stored, layout, mesh)
    else:
        key = jax.random.fold_in(jax.random.key(config.seed), t)
        first = (to_devices(layout.first_member(G), mesh),) if layout.split > 1 else ()
        rollouts = programs.sample(params, prompts, key, *first)
        clock.watch(rollouts.tokens)
        if off_policy(config) and not samples_what_it_scores(config):
            old = programs.reference(params, prompts, rollouts.tokens, rollouts.mask)
            clock.watch(old)
            rollouts = replace(rollouts, log_probs=old)
        if config.loss.top_entropy < 1:
            entropy = programs.entropy(params, prompts, rollouts.tokens, rollouts.mask)
            clock.watch(entropy)
            rollouts = replace(rollouts, entropy=entropy)
        if programs.values is not None:
            values = programs.values(params, prompts, rollouts.tokens, rollouts.mask)
            clock.watch(values)
            rollouts = replace(rollouts, values=values)
    reference = None
    if reference_params is not None:
        reference = programs.reference(reference_params, prompts, rollouts.tokens, rollouts.mask)
        clock.watch(reference)
    return Drawn(host, t, prompts, rollouts, reference)


def by_prompt(drawn: Drawn) -> Rollouts:
    """Numpy arrays [B, G, ...] of the whole batch in every process, without rows that only fill it; a collective."""
    layout = drawn.host.layout
    own = np.flatnonzero((drawn.host.row_weight > 0) & layout.owned)
    mine = jax.tree.map(lambda x: local_rows(x, layout.mine)[own], drawn.rollouts)
    rows, parts = zip(*all_gather_objects((layout.mine[own], mine)), strict=True)
    order = np.argsort(np.concatenate(rows))
    return jax.tree.map(
        lambda *x: np.concatenate(x)[order].reshape(layout.prompts, -1, *x[0].shape[2:]), parts[0], *parts[1:]
    )


def _on_rows(stored: Rollouts, layout: Layout, mesh: Mesh) -> Rollouts:
    """The inverse of `by_prompt`, on the devices there are now; rows that only fill the batch repeat its prompts."""
    number = layout.prompt_of % layout.prompts * layout.split + layout.mine % layout.split
    rows = lambda x: x.reshape(layout.prompts * layout.split, -1, *x.shape[2:])[number]  # noqa: E731
    return to_devices(jax.tree.map(rows, stored), mesh)


def off_policy(config: ConfigDict) -> bool:
    """Whether an update may train on completions that an older policy drew."""
    return bool(config.rollout.ahead) or config.train.minibatches * config.train.rollout_epochs > 1


def samples_what_it_scores(config: ConfigDict) -> bool:
    """Whether the sampler's log-probs at temperature 1 over the allowed tokens are those that the loss scores."""
    return scored_temperature(config) == 1 and not config.loss.full_softmax


def draws_what_it_scores(config: ConfigDict) -> bool:
    """Whether tokens are drawn from the very distribution that the loss scores."""
    whole = not config.rollout.top_k and config.rollout.top_p == 1 and not config.loss.full_softmax
    return whole and scored_temperature(config) == config.rollout.temperature


def score_batch(
    config: ConfigDict,
    processor: Processor,
    rewards: RewardSet,
    estimate: Callable,
    mesh: Mesh,
    clock: Clock,
    drawn: Drawn,
    known: RewardResults | None = None,
) -> Scored:
    """Waits for the tokens and scores them on the host. known: results of an earlier session, used instead of scoring.
    estimate: the algorithm's advantages.

    A completion whose reward is missing takes no part: not in its group's statistics, and with advantage 0. Each
    process decodes and scores its own rows; statistics and metrics are of all of them, alike everywhere, and the
    completions are those of the logged prompts that this process holds.
    """
    host, rollouts = drawn.host, drawn.rollouts
    layout, G = host.layout, config.rollout.group
    tokens, mask, finished = (local_rows(x, layout.mine) for x in (rollouts.tokens, rollouts.mask, rollouts.finished))
    clock.lap("rollout")

    own = score_part(processor, rewards, host, tokens, mask, finished, drawn.t, known)
    parts = all_gather_objects(own)
    whole = merge_parts(parts, layout, completions_per_prompt(config))
    everything = whole.first_members(G)
    clock.lap("reward")  # before the device is asked, which may be busy with an update
    failures = sum(part.failures for part in parts)
    row_weight = np.broadcast_to(everything.live[:, None], everything.total.shape).astype(np.float32)
    inputs = {
        "mask": lambda: np.arange(tokens.shape[-1]) < everything.lengths[..., None],
        "parts": lambda: everything.values.astype(np.float32),
        "weights": lambda: np.array([item.weight for item in rewards.rewards], np.float32),
        "greedy": lambda: whole.total[:, G],
    }
    advantages, stats = estimate(everything.total, row_weight, inputs)
    advantages = np.asarray(advantages)
    if more := whole.total.shape[1] - G:  # the greedy completion
        unweighted = lambda x: np.pad(x, [(0, 0), (0, more), *[(0, 0)] * (x.ndim - 2)])  # noqa: E731
        row_weight, advantages = unweighted(row_weight), unweighted(advantages)

    by_row = lambda x: np.ascontiguousarray(x.reshape(layout.rows, -1, *x.shape[2:])[layout.mine])  # noqa: E731
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
        "completions/duplicate_ratio": duplicate_ratio(everything.texts[live]),
        # As TRL counts: the prompt once for each completion, although it is computed once for the group.
        "num_tokens": int(lengths.sum()) + G * sum(part.prompt_tokens for part in parts),
    }
    results = RewardResults(whole.values[:, live], whole.total[live], whole.text_metrics, failures)
    return Scored(batch, metrics, logged_groups(config, host, own.names, whole, advantages), results)


def _batch(config: ConfigDict, mesh: Mesh, drawn: Drawn, row_weight: np.ndarray, advantages: np.ndarray) -> Batch:
    """row_weight float32[r, g], advantages float32[r, g] or [r, g, C] of this process's rows."""
    rollouts = drawn.rollouts
    weighted = to_devices({"row_weight": row_weight, "advantages": advantages}, mesh)
    loss_mask, chosen = rollouts.mask, None
    if config.loss.mask_truncated:
        loss_mask = _whole_ones(rollouts.mask, rollouts.finished)
    if rollouts.entropy is not None:
        chosen = _uncertain(rollouts.entropy, loss_mask, weighted["row_weight"], config.loss.top_entropy)
    targets = Targets(
        loss_mask, **weighted, chosen=chosen, old_log_probs=rollouts.log_probs if off_policy(config) else None,
        ref_log_probs=drawn.reference, sampling_log_probs=rollouts.sampled_log_probs,
    )  # fmt: skip
    return Batch(drawn.prompts, rollouts.tokens, rollouts.mask, targets)


@jax.jit
def _whole_ones(mask: jax.Array, finished: jax.Array) -> jax.Array:
    """The tokens of completions that ended by themselves."""
    return mask & finished[..., None]


@partial(jax.jit, static_argnums=3)
def _uncertain(entropy: jax.Array, mask: jax.Array, row_weight: jax.Array, share: float) -> jax.Array:
    return top_entropy(entropy, mask & (row_weight > 0)[..., None], share)
