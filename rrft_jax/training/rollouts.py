"""From prompts to a scored batch: sample, score on the host while the reference pass runs, advantages."""

import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.losses.advantages import group_advantages
from rrft_jax.losses.terms import Targets
from rrft_jax.processing.processor import Processor, decode
from rrft_jax.rewards import RewardSet
from rrft_jax.training.completions import Group
from rrft_jax.training.forward import Batch
from rrft_jax.training.programs import Programs, to_devices
from rrft_jax.training.source import HostBatch


def grpo_batch(
    config: ConfigDict,
    programs: Programs,
    processor: Processor,
    rewards: RewardSet,
    mesh: Mesh,
    params: dict,
    reference_params: dict | None,
    host: HostBatch,
    t: int,
) -> tuple[Batch, dict[str, float], list[Group]]:
    """The batch of step t (0-based), its metrics under TRL's names, and its completions for the log.

    reference_params: None where the loss has no KL penalty; the reference pass is left out, and the metric kl with it.
    A completion whose reward is missing takes no part: not in its group's statistics, and with advantage 0.
    """
    begin = time.perf_counter()
    B, G = len(host.examples), config.rollout.group
    prompts = to_devices(host.prompts, mesh)
    key = jax.random.fold_in(jax.random.key(config.seed), t)
    rollouts = programs.sample(params, prompts, key)
    reference = None
    if reference_params is not None:
        reference = programs.reference(reference_params, prompts, rollouts.tokens, rollouts.mask)
    tokens, mask, finished = (np.asarray(x) for x in (rollouts.tokens, rollouts.mask, rollouts.finished))
    sampled = time.perf_counter()

    texts = [decode(processor, row) for row in tokens.reshape(B * G, -1)]
    bare = [e.without_images() for e in host.examples]
    scored = rewards.score(texts, [e for e in bare for _ in range(G)], [b for b in range(B) for _ in range(G)], t)
    row_weight = np.broadcast_to(host.row_weight[:, None], (B, G)).astype(np.float32)
    total = np.array(scored.total, np.float32)
    # A sum over the functions that happened to answer would rank a failed check as a wrong answer.
    total[[failure.position for failure in scored.failures]] = np.nan
    total = total.reshape(B, G)
    advantages, stats = group_advantages(jnp.asarray(total), row_weight=jnp.asarray(row_weight), **config.advantages)
    advantages = np.asarray(advantages)
    rewarded = time.perf_counter()

    targets = Targets(mask, row_weight, advantages, None, reference)
    batch = Batch(prompts, rollouts.tokens, rollouts.mask, to_devices(targets, mesh))
    live = row_weight.reshape(-1) > 0
    metrics = {
        **{name: float(value) for name, value in stats.items()},
        **reward_metrics(scored.names, scored.values[:, live]),
        **{name: s / n for name, (s, n) in scored.metrics.items() if name.startswith(("format/", "parse_fail"))},
        "reward_error": float(len(scored.failures)),
        **length_metrics(mask.sum(-1).reshape(-1)[live], finished.reshape(-1)[live]),
        "completions/reasons": float(np.mean(["<think>" in t for t, ok in zip(texts, live, strict=True) if ok])),
        "timing/rollout": sampled - begin,
        "timing/reward": rewarded - sampled,
    }
    return batch, metrics, _groups(config, host, texts, scored, total, advantages)


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


def _groups(config, host, texts, scored, total, advantages) -> list[Group]:
    B, G = total.shape
    missing = lambda row: [None if np.isnan(v) else float(v) for v in row]  # noqa: E731
    values = scored.values.reshape(len(scored.names), B, G)
    return [
        Group(
            prompt_id=int(host.prompts.prompt_id[b]),
            example_id=host.examples[b].id,
            prompt=host.texts[b],
            answer=host.examples[b].answer,
            completions=texts[b * G : (b + 1) * G],
            images=host.examples[b].images,
            rewards={name: missing(values[k, b]) for k, name in enumerate(scored.names)},
            reward=missing(total[b]),
            advantages=[float(a) for a in advantages[b]],
        )
        for b in range(min(config.log.completions_prompts, B))
        if host.row_weight[b] > 0
    ]
