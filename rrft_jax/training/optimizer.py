"""Optimizer and learning-rate schedule from the config, by optax."""

from typing import Any

import jax
import optax
from ml_collections import ConfigDict

DECAYED = ("kernel", "embedding", "lora_a", "lora_b")
SCHEDULES = ("constant", "linear", "cosine")


def make_schedule(config: ConfigDict, steps: int) -> optax.Schedule:
    """Warm-up over `warmup_steps`, then constant, or linear / cosine decay to 0 at `steps`. A run that is shorter than
    its warm-up ends during it.

    config: fields name, peak, warmup_steps; warmup_ratio, if it is not 0, is the share of `steps` to warm up for.
    Step t of w warm-up steps has the rate peak * (t + 1) / (w + 1), or with from_zero peak * t / w, as in transformers.
    """
    if not 0 <= config.warmup_ratio < 1:
        raise ValueError(f"config.optimizer.schedule.warmup_ratio={config.warmup_ratio}: give 0 or more, less than 1")
    warm = round(config.warmup_ratio * steps) if config.warmup_ratio else config.warmup_steps
    if warm < 0:
        raise ValueError(f"config.optimizer.schedule.warmup_steps={warm} must be at least 0")
    rest = max(steps - warm, 1)
    if config.name == "constant":
        decay = optax.constant_schedule(config.peak)
    elif config.name == "linear":
        decay = optax.linear_schedule(config.peak, 0.0, rest)
    elif config.name == "cosine":
        decay = optax.cosine_decay_schedule(config.peak, rest)
    else:
        raise ValueError(f"config.optimizer.schedule.name={config.name!r}: choose one of {', '.join(SCHEDULES)}")
    if not warm:
        return decay
    shift = 0 if config.from_zero else 1
    return optax.join_schedules([lambda t: config.peak * (t + shift) / (warm + shift), decay], [warm])


def make_optimizer(config: ConfigDict, steps: int) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """AdamW after clipping by global norm. config: b1, b2, eps, weight_decay, max_grad_norm (0: no clipping), schedule.

    Weight decay leaves out vectors (norm scales, biases), which are [L, D] when stacked by layer.
    """
    if not config.max_grad_norm >= 0:
        raise ValueError(f"config.optimizer.max_grad_norm={config.max_grad_norm} must be positive, or 0 not to clip")
    schedule = make_schedule(config.schedule, steps)

    def decayed(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key in DECAYED, params)

    adamw = optax.adamw(schedule, config.b1, config.b2, config.eps, weight_decay=config.weight_decay, mask=decayed)
    clip = optax.clip_by_global_norm(config.max_grad_norm) if config.max_grad_norm else optax.identity()
    return optax.chain(clip, adamw), schedule
