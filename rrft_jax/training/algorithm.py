"""The interface of a training algorithm, and the parts of a run that it receives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.data.example import Example
from rrft_jax.models.protocol import Model
from rrft_jax.processing.chat import Prompt
from rrft_jax.processing.processor import Processor
from rrft_jax.rewards import RewardSet
from rrft_jax.run.progress import Shown
from rrft_jax.tasks.task import Task
from rrft_jax.training.batches import PromptFn, whole_conversation
from rrft_jax.training.critic import Critic
from rrft_jax.training.programs import Programs
from rrft_jax.training.source import Source


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """What differs between SFT, GRPO and others: loop, step and plans call it, and know no algorithm by name.

    samples: whether completions are drawn from the policy and rewarded; else they are given.
    group(config): G, the completions of a prompt. updates(config): how many updates are taken on one batch of prompts.
    reference(config): whether the loss reads the reference policy, that of the start.
    loss(config): loss_fn(scores, targets) -> (terms, metrics), as `training.step.make_train_step` takes it.
    advantages(config): (rewards float32[B, G], row_weight float32[B, G], inputs) -> (advantages float32[B, G] or
    [B, G, C], statistics), inputs: functions that make what `losses.estimators.INPUTS` lists; None where nothing is
    rewarded.
    check(config, task): raises ValueError that names a field which is wrong, or cannot change the gradient.
    check_example(config, task, processor): a function that raises ValueError for a record which cannot be trained on.
    prompt(config): (ask, example, training) -> the Prompt of an example, in a training batch or a held-out one, where
    ask(example) is its question in the template of the run.
    feed(run, clock, step, in_flight): the `training.feed.Feed` from that step on.
    shown(config, task): what the progress bar shows.
    critic(config): the `training.critic.Critic` whose values its loss takes (`Scores.values`), or None.
    preset: fields of the config by dotted name, set where they are at their defaults (`preset_choice`).
    """

    name: str
    samples: bool
    group: Callable[[ConfigDict], int]
    updates: Callable[[ConfigDict], int]
    reference: Callable[[ConfigDict], bool]
    loss: Callable[[ConfigDict], Callable]
    advantages: Callable[[ConfigDict], Callable] | None
    check: Callable[[ConfigDict, Task], None]
    check_example: Callable[[ConfigDict, Task, Processor], Callable[[Example], object]]
    prompt: Callable[[ConfigDict], Callable[[PromptFn, Example, bool], Prompt]] = lambda config: whole_conversation
    feed: Callable[..., Any]
    shown: Callable[[ConfigDict, Task], Sequence[Shown]]
    critic: Callable[[ConfigDict], Critic | None] = lambda config: None
    preset: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """What does not change during a run."""

    config: ConfigDict
    algorithm: Algorithm
    task: Task
    model: Model
    processor: Processor
    mesh: Mesh
    source: Source
    programs: Programs
    rewards: RewardSet
    frozen: dict
    reference: dict | None
