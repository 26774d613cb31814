"""Checks of a config before anything is loaded or written, for errors that would otherwise come late, or never."""

from collections.abc import Callable

from ml_collections import ConfigDict

from rrft_jax.models.attention import check_name
from rrft_jax.parallel.mesh import AXES
from rrft_jax.processing.buckets import Buckets
from rrft_jax.rewards.outside import split_entry
from rrft_jax.rollout.compaction import stages
from rrft_jax.rollout.growth import bounds
from rrft_jax.run.sinks import check_sinks
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.algorithms import get_algorithm
from rrft_jax.training.optimizer import make_optimizer
from rrft_jax.training.parameters import check_trained
from rrft_jax.training.rewarding import make_rewards

MINIMUM = {
    "seed": 0,
    "train.steps": 1,
    "train.prompts": 1,
    "train.minibatches": 1,
    "train.rollout_epochs": 1,
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
    "log.held_out_prompts": 0,
    "log.progress_every": 1,
}


def check_config(config: ConfigDict) -> None:
    """Raises ValueError that names a wrong field, as config.<field>, and its allowed values."""
    algorithm = get_algorithm(config.algorithm)
    for name, least in MINIMUM.items():
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
    buckets = lambda: Buckets(**config.buckets)  # noqa: E731
    _check_named("config.", buckets if config.data.folder else lambda: buckets().shapes)
    _check_optimizer(config.optimizer)
    _check_named("config.", lambda: make_optimizer(config.optimizer, config.train.steps))
    _check_named("config.rollout.", lambda: stages(1, config.rollout.compact))
    _check_named("config.rollout.", lambda: bounds(config.rollout.max_completion_length, config.rollout.cache_parts))
    check_name(config.model.attention)
    check_sinks(config.log.sinks)
    check_trained(config)
    _check_task(config, algorithm.samples)
    algorithm.check(config, get_task(config.task))
    if config.stage1:
        try:
            check_config(config.stage1)
        except ValueError as error:
            raise ValueError(str(error).replace("config.", "config.stage1.")) from None


def _check_optimizer(config: ConfigDict) -> None:
    for name, value, low, high in (
        ("schedule.peak", config.schedule.peak, 0.0, 3e38), ("b1", config.b1, 0.0, 1.0), ("b2", config.b2, 0.0, 1.0),
        ("eps", config.eps, 0.0, 1.0), ("weight_decay", config.weight_decay, 0.0, 3e38),
    ):  # fmt: skip
        below = value < high if name in ("b1", "b2") else value <= high
        if not (low <= value and below) or name == "eps" and not value:
            what = f"more than {low:g}" if name == "eps" else f"at least {low:g}"
            end = f"less than {high:g}" if name in ("b1", "b2") else f"at most {high:g}"
            raise ValueError(f"config.optimizer.{name}={value} must be {what} and {end}")


def _check_amounts(config: ConfigDict) -> None:
    """Which examples, and for how long."""
    if not config.train.epochs >= 0:
        raise ValueError(f"config.train.epochs={config.train.epochs} must be positive, or 0 for config.train.steps")
    places = tuple(config.data.range)
    if len(places) != 2 or places[0] < 0 or places[1] and places[1] <= places[0]:
        raise ValueError(f"config.data.range={places}: give the first place and the end, such as 0,1600, or 1600,0")
    if config.train.epochs and not config.data.folder and not places[1]:
        raise ValueError("config.train.epochs: generated examples never end; give config.train.steps, or data.range")


def _check_task(config: ConfigDict, samples: bool) -> None:
    task = get_task(config.task)
    if task.make is None and not config.data.folder:
        raise ValueError(f"config.task={config.task} generates no examples: give config.data.folder with its records")
    make_rewards(config, task, tokenizer=list)
    if not samples and (added := [e for e in config.extra_rewards if split_entry(e)[0] not in task.rewards]):
        raise ValueError(
            f"config.extra_rewards={added}: config.algorithm={config.algorithm} learns from given "
            "answers and from no reward, leave them out"
        )
    images = config.processor.images
    if images not in ("first", "in_question"):
        raise ValueError(f"config.processor.images={images!r}: choose first or in_question")
    marks = images == "in_question"
    _check_named("config.prompt: ", lambda: task.prompt_fn(config.prompt, bool(config.data.folder), marks))


def _check_named(prefix: str, build: Callable) -> None:
    """Adds `prefix` to the errors of a part that names its fields without their group."""
    try:
        build()
    except ValueError as error:
        raise ValueError(f"{'' if str(error).startswith('config.') else prefix}{error}") from None
