"""Optimizer and learning-rate schedule from the config, by optax."""

from typing import Any

import jax
import optax

from rrft_jax.config.groups import Optimizer, Schedule

DECAYED = ("kernel", "embedding", "lora_a", "lora_b")


def make_schedule(config: Schedule, steps: int) -> optax.Schedule:
    """Warm-up over `warmup_steps`, then constant, or linear / cosine decay to 0 at `steps`. A run that is shorter than
    its warm-up ends during it.

    Step t of w warm-up steps has the rate peak * (t + 1) / (w + 1), or with from_zero peak * t / w, as in transformers.
    """
    warm = round(config.warmup_ratio * steps) if config.warmup_ratio else config.warmup_steps
    rest = max(steps - warm, 1)
    if config.name == "constant":
        decay = optax.constant_schedule(config.peak)
    elif config.name == "linear":
        decay = optax.linear_schedule(config.peak, 0.0, rest)
    else:
        decay = optax.cosine_decay_schedule(config.peak, rest)
    if not warm:
        return decay
    shift = 0 if config.from_zero else 1
    return optax.join_schedules([lambda t: config.peak * (t + shift) / (warm + shift), decay], [warm])


def make_optimizer(config: Optimizer, steps: int) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """AdamW after clipping by global norm.

    Weight decay leaves out vectors (norm scales, biases), which are [L, D] when stacked by layer.
    """
    schedule = make_schedule(config.schedule, steps)

    def decayed(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key in DECAYED, params)

    adamw = optax.adamw(schedule, config.b1, config.b2, config.eps, weight_decay=config.weight_decay, mask=decayed)
    clip = optax.clip_by_global_norm(config.max_grad_norm) if config.max_grad_norm else optax.identity()
    return optax.chain(clip, adamw), schedule
