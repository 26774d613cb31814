"""The jitted programs of a run, built once from the config: sampler, greedy sampler, reference pass, train step."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.doors import is_reference
from rrft_jax.losses.grpo import GRPOLoss, grpo_loss
from rrft_jax.losses.sft import sft_loss
from rrft_jax.losses.trl import LOSS_TYPES
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.qwen2_vl.model import Qwen2VL
from rrft_jax.models.score import score
from rrft_jax.models.vocabulary import allowed_tokens
from rrft_jax.parallel.layout import Layout, plan
from rrft_jax.parallel.placement import by_rows
from rrft_jax.processing.processor import Processor
from rrft_jax.rollout.compaction import EVALUATION
from rrft_jax.rollout.sampler import Rollouts, sample
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.training.optimizer import make_optimizer
from rrft_jax.training.step import make_forward, make_train_step


@dataclass(frozen=True)
class Programs:
    """sample(params, prompts, key, first_member=None) and greedy(params, prompts) -> Rollouts;
    reference(params, prompts, tokens, mask) -> float32[B, G, C]; step(state, frozen, batch) -> (state, metrics), which
    consumes its state."""

    sample: Callable[..., Rollouts]
    greedy: Callable[[dict, Prompts], Rollouts]
    reference: Callable[[dict, Prompts, jax.Array, jax.Array], jax.Array]
    step: Callable[[dict, dict, Any], tuple[dict, dict]]
    optimizer: optax.GradientTransformation


def loss_config(config: ConfigDict) -> GRPOLoss:
    """The loss that config.loss describes; config.loss.type, a name of TRL's, stands for surrogate and aggregation."""
    fields = {k: v for k, v in config.loss.items() if k in GRPOLoss.__dataclass_fields__}
    if config.loss.type:
        if config.loss.type not in LOSS_TYPES:
            raise ValueError(f"config.loss.type={config.loss.type!r}: choose one of {', '.join(LOSS_TYPES)}")
        if is_reference(config.loss.surrogate):
            raise ValueError(
                f"config.loss.surrogate={config.loss.surrogate} is not used with config.loss.type={config.loss.type}, "
                "which has its own: set config.loss.type to '', and config.loss.aggregation to what you want"
            )
        fields["surrogate"], fields["aggregation"] = LOSS_TYPES[config.loss.type]
    try:
        return GRPOLoss(**{**fields, "max_completion_length": config.rollout.max_completion_length})
    except ValueError as error:
        raise ValueError(str(error).replace("GRPOLoss.", "config.loss.")) from None


def scored_temperature(config: ConfigDict) -> float:
    """What logits are divided by where log-probs are scored."""
    return config.rollout.temperature if config.loss.temperature is None else config.loss.temperature


def make_programs(config: ConfigDict, model: Qwen2VL, processor: Processor, layout: Layout) -> Programs:
    """Compiles nothing yet; each program compiles once per bucket of prompt shapes.

    layout: of a training batch. Where rows share a group, each holds rollout.group / layout.split members.
    """
    law = jnp.asarray(allowed_tokens(model.config, processor.vocab_tokens, processor.eos_token_ids))
    scored_law = None if config.loss.full_softmax else law
    scoring = {
        "temperature": scored_temperature(config),
        "chunk": config.model.logits_chunk,
        "group_chunks": config.train.group_chunks,
    }
    rollout = config.rollout
    draw = partial(
        sample, model, allowed=law, eos_token_ids=processor.eos_token_ids, pad_token_id=processor.pad_token_id,
        length=rollout.max_completion_length,
    )  # fmt: skip
    sampling = Sampling(rollout.temperature, rollout.top_k, rollout.top_p)
    optimizer, schedule = make_optimizer(config.optimizer, config.train.steps)
    loss = sft_loss if config.algorithm == "sft" else partial(grpo_loss, config=loss_config(config))
    forward = make_forward(model, scored_law, **scoring)
    step = make_train_step(forward, loss, optimizer, schedule, layout.micro_batches)

    def reference(params: dict, prompts: Prompts, tokens: jax.Array, mask: jax.Array) -> jax.Array:
        return score(model, params, prompts, tokens, mask, scored_law, **scoring)[0]

    def train_sample(params: dict, prompts: Prompts, key: jax.Array, first_member: jax.Array | None = None) -> Rollouts:
        members = rollout.group // layout.split
        drawn = draw(
            params, prompts, key, group=members, sampling=sampling, first_member=first_member, compact=rollout.compact,
            cache_parts=rollout.cache_parts,
        )  # fmt: skip
        return by_rows(drawn)

    def greedy_sample(params: dict, prompts: Prompts) -> Rollouts:
        return by_rows(draw(params, prompts, jax.random.key(0), group=1, sampling=Sampling(0.0), compact=EVALUATION))

    return Programs(
        jax.jit(train_sample),
        jax.jit(greedy_sample),
        jax.jit(reference),
        jax.jit(step, donate_argnums=0),
        optimizer,
    )


def step_layout(config: ConfigDict, mesh: Mesh) -> Layout:
    """The layout of a training batch, with its micro-batches.

    Raises ValueError where config.train.micro_batches or group_chunks do not divide what a device holds.
    """
    group = group_size(config)
    layout = plan(mesh, config.train.prompts, group, config.train.micro_batches)
    if (group // layout.split) % config.train.group_chunks:
        raise ValueError(
            f"config.train.group_chunks={config.train.group_chunks} must divide the {group // layout.split} "
            f"completions that a row holds: {layout.describe()}"
        )
    return layout


def group_size(config: ConfigDict) -> int:
    """G: completions of a prompt that a step trains on."""
    return config.rollout.group if config.algorithm == "grpo" else 1
