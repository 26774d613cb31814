"""Errors of a config that would otherwise come late, or never: all found before anything is loaded or written."""

from collections.abc import Callable

from ml_collections import ConfigDict

from rrft_jax.losses.advantages import SCALES
from rrft_jax.losses.outside import check_estimator
from rrft_jax.models.qwen2_vl.attention import check_name
from rrft_jax.parallel.mesh import AXES
from rrft_jax.processing.buckets import Buckets
from rrft_jax.rollout.compaction import stages
from rrft_jax.rollout.growth import bounds
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.optimizer import make_optimizer
from rrft_jax.training.parameters import check_trained
from rrft_jax.training.programs import loss_config
from rrft_jax.training.rewarding import make_rewards

LEAST = {
    "seed": 0,
    "train.steps": 1,
    "train.prompts": 1,
    "train.micro_batches": 0,
    "train.group_chunks": 1,
    "train.max_skipped": 1,
    "model.logits_chunk": 1,
    "processor.nearest_pixels": 0,
    "rollout.max_completion_length": 1,
    "advantages.ddof": 0,
    "advantages.epsilon": 0,
    "eval.every": 0,
    "eval.examples": 0,
    "eval.batch": 1,
    "checkpoint.every": 1,
    "checkpoint.keep_last": 1,
    "checkpoint.keep_best": 0,
    "log.completions_every": 1,
    "log.completions_prompts": 0,
    "log.progress_every": 1,
}


def check_config(config: ConfigDict) -> None:
    """Raises ValueError that names the field, as config.<field>, and what it may be."""
    if config.algorithm not in ("grpo", "sft"):
        raise ValueError(f"config.algorithm={config.algorithm!r}: choose grpo or sft")
    for name, least in LEAST.items():
        group, _, field = name.rpartition(".")
        value = (config[group] if group else config)[field]
        if not value >= least:
            raise ValueError(f"config.{name}={value} must be at least {least}")
    for axis in AXES:
        if config.mesh[axis] < 1 and config.mesh[axis] != -1:
            raise ValueError(f"config.mesh.{axis}={config.mesh[axis]} must be at least 1, or -1 for the devices left")
    _check_amounts(config)
    if not 0 <= config.data.held_out < 1:
        raise ValueError(f"config.data.held_out={config.data.held_out} is a share: give 0 or more, and less than 1")
    _check_named("config.", lambda: Buckets(**config.buckets))
    _check_named("config.", lambda: make_optimizer(config.optimizer, config.train.steps))
    _check_named("config.rollout.", lambda: stages(1, config.rollout.compact))
    _check_named("config.rollout.", lambda: bounds(config.rollout.max_completion_length, config.rollout.cache_parts))
    check_name(config.model.attention)
    check_trained(config)
    _check_task(config)
    if config.algorithm == "grpo":
        _check_grpo(config)
    if config.stage1:
        try:
            check_config(config.stage1)
        except ValueError as error:
            raise ValueError(str(error).replace("config.", "config.stage1.")) from None


def _check_amounts(config: ConfigDict) -> None:
    """Which examples, and for how long."""
    if not config.train.epochs >= 0:
        raise ValueError(f"config.train.epochs={config.train.epochs} must be positive, or 0 for config.train.steps")
    places = tuple(config.data.range)
    if len(places) != 2 or places[0] < 0 or places[1] and places[1] <= places[0]:
        raise ValueError(f"config.data.range={places}: give the first place and the end, such as 0,1600, or 1600,0")
    if config.train.epochs and not config.data.folder and not places[1]:
        raise ValueError("config.train.epochs: generated examples never end; give config.train.steps, or data.range")


def _check_task(config: ConfigDict) -> None:
    task = get_task(config.task)
    make_rewards(config, task, tokenizer=list)
    if config.extra_rewards and config.algorithm == "sft":
        raise ValueError(f"config.extra_rewards={config.extra_rewards}: SFT learns from no reward, leave them out")
    images = config.processor.images
    if images not in ("first", "in_question"):
        raise ValueError(f"config.processor.images={images!r}: choose first or in_question")
    marks = images == "in_question"
    _check_named("config.prompt: ", lambda: task.asker(config.prompt, bool(config.data.folder), marks))
    if config.algorithm == "sft" and config.sft.target not in task.targets:
        raise ValueError(f"config.sft.target={config.sft.target!r}: choose one of {', '.join(task.targets)}")


def _check_grpo(config: ConfigDict) -> None:
    rollout = config.rollout
    if rollout.group < 2:
        raise ValueError(f"config.rollout.group={rollout.group}: GRPO compares the members of a group, give >= 2")
    if rollout.group % config.train.group_chunks:
        raise ValueError(
            f"config.train.group_chunks={config.train.group_chunks} must divide the {rollout.group} completions of a "
            "prompt (config.rollout.group)"
        )
    _check_named("config.rollout.", lambda: Sampling(rollout.temperature, rollout.top_k, rollout.top_p))
    if not rollout.temperature > 0:
        raise ValueError("config.rollout.temperature=0 draws equal completions, from which GRPO learns nothing")
    scored = config.loss.temperature
    if scored is not None and not scored > 0:
        raise ValueError(f"config.loss.temperature={scored} must be positive; leave it out for the rollout's")
    if config.advantages.scale not in SCALES:
        raise ValueError(f"config.advantages.scale={config.advantages.scale!r}: choose one of {', '.join(SCALES)}")
    check_estimator(**config.advantages)
    if rollout.ahead not in (0, 1):
        raise ValueError(f"config.rollout.ahead={rollout.ahead}: completions are drawn 0 or 1 steps ahead")
    if loss_config(config).surrogate == "on_policy" and rollout.ahead:
        raise ValueError(
            "config.loss.surrogate='on_policy' takes completions for the current policy's own, and with "
            "config.rollout.ahead=1 an older one draws them: choose clipped, cispo or sapo"
        )


def _check_named(prefix: str, build: Callable) -> None:
    """Errors of a part that names its fields without saying where they stand."""
    try:
        build()
    except ValueError as error:
        raise ValueError(f"{'' if str(error).startswith('config.') else prefix}{error}") from None
