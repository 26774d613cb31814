"""The jitted programs of a run, built once from the config: sampler, greedy sampler, reference pass, train step."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int
from ml_collections import ConfigDict

from rrft_jax.arrays import HostOrDevice
from rrft_jax.config.groups import Train
from rrft_jax.losses.outside import reads_greedy
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.protocol import Model
from rrft_jax.models.score import score
from rrft_jax.parallel.layout import Layout, plan
from rrft_jax.parallel.placement import by_rows
from rrft_jax.rollout.compaction import EVALUATION
from rrft_jax.rollout.decoder import Vocabulary, make_decoder
from rrft_jax.rollout.sampler import Rollouts, sample
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.training.critic import Critic, optimizer_for
from rrft_jax.training.minibatches import select
from rrft_jax.training.step import Batch, make_forward, make_train_step

LOG_PROBS, ENTROPY, VALUES = 0, 1, 2  # places in what `models.score.score` gives


@dataclass(frozen=True)
class StepLayout:
    """The layout on the devices of what a step trains on. drawn: the batch of prompts with its completions. update: the
    part of it that one update takes, with its micro-batches; the same where config.train.minibatches is 1."""

    group: int
    drawn: Layout
    update: Layout


@dataclass(frozen=True)
class Programs:
    """sample(params, prompts, key, first_member=None) and greedy(params, prompts) -> Rollouts;
    reference(params, prompts, tokens, mask) -> float32[B, G, C], entropy(...) and values(...), a critic's, likewise;
    select(batch, numbers, weight) -> Batch, a minibatch;
    step(state, frozen, batch) -> (state, metrics), which consumes its state."""

    sample: Callable[..., Rollouts]
    greedy: Callable[[dict, Prompts], Rollouts]
    reference: Callable[[dict, Prompts, jax.Array, jax.Array], jax.Array]
    entropy: Callable[[dict, Prompts, jax.Array, jax.Array], jax.Array]
    values: Callable[[dict, Prompts, jax.Array, jax.Array], jax.Array] | None
    select: Callable[[Batch, Any, Any], Batch]
    step: Callable[[dict, dict, Any], tuple[dict, dict]]
    optimizer: optax.GradientTransformation


def scored_temperature(config: ConfigDict) -> float:
    """What logits are divided by where log-probs are scored."""
    return config.rollout.temperature if config.loss.temperature is None else config.loss.temperature


def make_programs(
    config: ConfigDict,
    loss: Callable,
    model: Model,
    processor: Vocabulary,
    layout: StepLayout,
    critic: Critic | None = None,
) -> Programs:
    """Compiles nothing yet; each program compiles once per bucket of prompt shapes.

    loss, critic: the algorithm's, as `make_train_step` takes it. Where rows share a group, each holds layout.group /
    layout.drawn.split members.
    """
    rollout = config.rollout
    sampling = Sampling(rollout.temperature, rollout.top_k, rollout.top_p)
    drawing = make_decoder(
        model, processor, rollout.max_completion_length, sampling=sampling, compact=rollout.compact,
        cache_parts=rollout.cache_parts,
        greedy_member=layout.group - 1 if reads_greedy(config.advantages.estimator) else None,
    )  # fmt: skip
    evaluating = replace(drawing, sampling=Sampling(0.0), compact=EVALUATION, cache_parts=1, greedy_member=None)
    scored_tokens = None if config.loss.full_softmax else drawing.allowed
    scoring: dict[str, Any] = {
        "temperature": scored_temperature(config),
        "chunk": config.model.logits_chunk,
        "group_chunks": config.train.group_chunks,
    }
    optimizer, schedule = optimizer_for(config, critic)
    forward = make_forward(model, scored_tokens, **scoring, values=critic.values if critic else None)
    step = make_train_step(forward, loss, optimizer, schedule, layout.update.micro_batches)

    def scored(
        which: int,
        params: dict,
        prompts: Prompts,
        tokens: Int[HostOrDevice, "B G C"],
        mask: Bool[HostOrDevice, "B G C"],
    ) -> Float[Array, "B G C"]:
        read = partial(critic.values, params) if critic and which == VALUES else None
        return score(model, params, prompts, tokens, mask, scored_tokens, **scoring, read=read)[which]

    # One function each: a program goes by its function's name in traces and logs of compilations.
    def reference(*args: Any) -> jax.Array:
        return scored(LOG_PROBS, *args)

    def entropy(*args: Any) -> jax.Array:
        return scored(ENTROPY, *args)

    def values(*args: Any) -> jax.Array:
        return scored(VALUES, *args)

    def train_sample(params: dict, prompts: Prompts, key: jax.Array, first_member: jax.Array | None = None) -> Rollouts:
        return by_rows(sample(drawing, params, prompts, key, layout.group // layout.drawn.split, first_member))

    def greedy_sample(params: dict, prompts: Prompts) -> Rollouts:
        return by_rows(sample(evaluating, params, prompts, jax.random.key(0), 1))

    return Programs(
        jax.jit(train_sample),
        jax.jit(greedy_sample),
        jax.jit(reference),
        jax.jit(entropy),
        jax.jit(values) if critic else None,
        jax.jit(partial(select, of=layout.drawn, to=layout.update)),
        jax.jit(step, donate_argnums=0),
        optimizer,
    )


def step_layout(train: Train, group: int, mesh: Mesh) -> StepLayout:
    """The layout of a step whose prompts have `group` completions each.

    Raises ValueError where config.train.minibatches, micro_batches or group_chunks do not divide what there is.
    """
    if train.prompts % train.minibatches:
        raise ValueError(
            f"config.train.minibatches={train.minibatches} must divide the {train.prompts} prompts of a batch "
            "(config.train.prompts)"
        )
    update = plan(mesh, train.prompts // train.minibatches, group, train.micro_batches)
    if (group // update.split) % train.group_chunks:
        raise ValueError(
            f"config.train.group_chunks={train.group_chunks} must divide the {group // update.split} "
            f"completions that a row holds: {update.describe()}"
        )
    return StepLayout(group, update if train.minibatches == 1 else plan(mesh, train.prompts, group), update)
