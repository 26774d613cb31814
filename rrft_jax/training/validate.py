"""Checks of a config before anything is loaded or written, for errors that would otherwise come late, or never."""

from collections.abc import Callable

from ml_collections import ConfigDict

from rrft_jax.config.groups import GROUPS, Data, Train, read
from rrft_jax.processing.buckets import Buckets
from rrft_jax.rewards.outside import split_entry
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.algorithm import Algorithm
from rrft_jax.training.algorithms import get_algorithm
from rrft_jax.training.frozen_base import PlannedBase
from rrft_jax.training.parameters import check_trained
from rrft_jax.training.rewarding import make_rewards, right_reward


def check_config(config: ConfigDict) -> None:
    """Raises ValueError that names a wrong field, as config.<field>, and its allowed values."""
    algorithm = get_algorithm(config.algorithm)
    if not config.seed >= 0:
        raise ValueError(f"config.seed={config.seed} must be at least 0")
    groups = {name: read(config, name) for name in GROUPS}
    _check_length(groups["train"], groups["data"])
    name = "filter" if config.data.filter else "filter_rollouts"
    if config.data[name] and not config.data.folder and not config.data.range[1]:
        raise ValueError(
            f"config.data.{name}={config.data[name]}: generated examples never end; give config.data.folder, or "
            "config.data.range=0,1600"
        )
    if config.data.filter_rollouts:
        right_reward(config, get_task(config.task), list, PlannedBase(config, algorithm.reference(config)))
    buckets = lambda: Buckets(**config.buckets)  # noqa: E731
    _check_named("config.", buckets if config.data.folder else lambda: buckets().shapes)
    check_trained(config)
    _check_task(config, algorithm)
    algorithm.check(config, get_task(config.task))
    if config.reference and not algorithm.reference(config):
        raise ValueError(
            f"config.reference={config.reference} would change nothing: there is no KL penalty, set config.loss.beta"
        )
    if config.stage1:
        try:
            check_config(config.stage1)
        except ValueError as error:
            raise ValueError(str(error).replace("config.", "config.stage1.")) from None


def _check_length(train: Train, data: Data) -> None:
    if train.epochs and not data.folder and not data.range[1]:
        raise ValueError("config.train.epochs: generated examples never end; give config.train.steps, or data.range")


def _check_task(config: ConfigDict, algorithm: Algorithm) -> None:
    task = get_task(config.task)
    if task.make is None and not config.data.folder:
        raise ValueError(f"config.task={config.task} generates no examples: give config.data.folder with its records")
    make_rewards(config, task, tokenizer=list, base=PlannedBase(config, algorithm.reference(config)))
    if not algorithm.samples and (added := [e for e in config.extra_rewards if split_entry(e)[0] not in task.rewards]):
        raise ValueError(
            f"config.extra_rewards={added}: config.algorithm={config.algorithm} learns from given "
            "answers and from no reward, leave them out"
        )
    marks = config.processor.images == "in_question"
    _check_named("config.prompt: ", lambda: task.prompt_fn(config.prompt, bool(config.data.folder), marks))


def _check_named(prefix: str, build: Callable) -> None:
    """Adds `prefix` to the errors of a part that names its fields without their group."""
    try:
        build()
    except ValueError as error:
        raise ValueError(f"{'' if str(error).startswith('config.') else prefix}{error}") from None
