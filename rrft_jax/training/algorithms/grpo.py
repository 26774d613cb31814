"""GRPO and its relatives: groups of sampled completions, rewards, advantages within the group."""

from collections.abc import Callable
from functools import partial

from ml_collections import ConfigDict

from rrft_jax.data.loader import make_loader
from rrft_jax.doors import is_reference
from rrft_jax.losses.advantages import SCALES
from rrft_jax.losses.grpo import GRPOLoss, grpo_loss
from rrft_jax.losses.outside import check_estimator, estimate, find_surrogate, options
from rrft_jax.losses.surrogate import SURROGATES
from rrft_jax.losses.trl import LOSS_TYPES
from rrft_jax.rollout.sampler import Rollouts
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.run.clock import Clock
from rrft_jax.tasks.task import Task
from rrft_jax.training.algorithm import Algorithm, Run, Shown
from rrft_jax.training.batches import HostBatch
from rrft_jax.training.feed import InFlight, RolloutFeed
from rrft_jax.training.minibatches import Minibatches, padded
from rrft_jax.training.programs import step_layout
from rrft_jax.training.rollouts import Drawn, draw_batch, samples_what_it_scores, score_batch
from rrft_jax.training.step import Batch

MORE_UPDATES = (
    "the policy is the one that drew the completions at every update, so all ratios are 1: set "
    "config.train.minibatches or config.train.rollout_epochs to 2 or more, or config.rollout.ahead to 1"
)


def loss_config(config: ConfigDict) -> GRPOLoss:
    """The loss that config.loss describes; config.loss.type, a name of TRL's, stands for surrogate and aggregation, and
    makes epsilon_high the cap of cispo, as there."""
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
        if config.loss.type == "cispo":
            fields["cispo_cap"] = fields["epsilon_high"]
    try:
        return GRPOLoss(**{**fields, "max_completion_length": config.rollout.max_completion_length})
    except ValueError as error:
        raise ValueError(str(error).replace("GRPOLoss.", "config.loss.")) from None


def minibatches(config: ConfigDict) -> Minibatches:
    """The updates that are taken on one batch of prompts."""
    return Minibatches(config.train.minibatches, config.train.rollout_epochs)


def check(config: ConfigDict, task: Task) -> None:
    """ValueError that names a field of the sampler, the advantages or the loss which is wrong, or which cannot act."""
    del task
    rollout = config.rollout
    for field in ("ddof", "epsilon"):
        if not config.advantages[field] >= 0:
            raise ValueError(f"config.advantages.{field}={config.advantages[field]} must be at least 0")
    if rollout.group < 2:
        raise ValueError(f"config.rollout.group={rollout.group}: GRPO compares the members of a group, give >= 2")
    if rollout.group % config.train.group_chunks:
        raise ValueError(
            f"config.train.group_chunks={config.train.group_chunks} must divide the {rollout.group} completions of a "
            "prompt (config.rollout.group)"
        )
    try:
        Sampling(rollout.temperature, rollout.top_k, rollout.top_p)
    except ValueError as error:
        raise ValueError(f"config.rollout.{error}") from None
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
    loss = loss_config(config)
    updates = minibatches(config).updates
    if loss.surrogate == "on_policy" and (rollout.ahead or updates > 1):
        name = "rollout.ahead=1" if rollout.ahead else f"train.minibatches x rollout_epochs = {updates}"
        raise ValueError(
            "config.loss.surrogate='on_policy' takes completions for the current policy's own, and with "
            f"config.{name} an older one draws them: choose clipped, cispo or sapo"
        )
    _check_acts(config, loss, off_policy=bool(rollout.ahead or updates > 1))


def _check_acts(config: ConfigDict, loss: GRPOLoss, off_policy: bool) -> None:
    """ValueError for a field that differs from its default and changes nothing under the others."""
    changed = {name for name, field in GRPOLoss.__dataclass_fields__.items() if config.loss.get(name) != field.default}

    def refuse(name: str, why: str) -> None:
        raise ValueError(f"config.loss.{name}={config.loss[name]!r} would change nothing: {why}")

    if config.loss.type:
        for name in sorted(changed & {"surrogate", "aggregation"}):
            refuse(name, f"config.loss.type={config.loss.type} decides it; leave one of them out")
    cap_of_type = {"epsilon_high"} if config.loss.type == "cispo" else set()
    taken = set(options(find_surrogate(loss.surrogate)))
    of_some = {name: other for other, function in SURROGATES.items() for name in options(function)}
    for name in sorted(changed & of_some.keys() - taken - cap_of_type):
        refuse(name, f"only config.loss.surrogate={of_some[name]} reads it, and this is {loss.surrogate}")
    if not off_policy and not is_reference(loss.surrogate):
        small_cap = {"cispo_cap", "epsilon_high"} if loss.surrogate == "cispo" and loss.cispo_cap < 1 else set()
        small_cap |= {"surrogate"} if small_cap else set()
        for name in sorted(changed & {*of_some, "ratio_level", "surrogate"} - small_cap):
            if name != "surrogate" or not config.loss.type:
                refuse(name, MORE_UPDATES)
    if loss.importance_cap is not None and samples_what_it_scores(config):
        refuse("importance_cap", "tokens are drawn from the distribution that is scored: it acts with "
               "config.rollout.top_k, top_p, config.loss.full_softmax or another config.loss.temperature")  # fmt: skip
    if not loss.beta:
        for name in sorted(changed & {"kl_estimator", "kl_ratio_correction"}):
            refuse(name, "there is no KL penalty: set config.loss.beta")
    if config.advantages.scale == "none":
        for name, default in (("ddof", 1), ("epsilon", 1e-4)):
            if config.advantages[name] != default:
                raise ValueError(
                    f"config.advantages.{name}={config.advantages[name]} would change nothing: with "
                    "config.advantages.scale=none nothing is divided"
                )


def advantages(config: ConfigDict) -> Callable:
    """(rewards, row_weight=...) -> (advantages, statistics), by config.advantages."""
    return partial(estimate, **config.advantages)


def shown(config: ConfigDict, task: Task) -> Shown:
    """Reward, the task's own measure, KL and speed."""
    del config
    return (
        ("reward", "reward", "{:.3f}"),
        *task.shown(),
        ("kl", "kl", "{:.4f}"),
        ("tok/s", "tokens_per_second", "{:,.0f}"),
    )


def feed(run: Run, clock: Clock, step: int, in_flight: InFlight | None) -> RolloutFeed:
    """Sampled batches from update `step` on, each for the updates that config.train asks for."""
    config, parts = run.config, minibatches(run.config)
    layout = step_layout(config, run.algorithm.group(config), run.mesh)

    def part(batch: Batch, t: int, update: int) -> Batch:
        if parts.count == 1:
            return batch
        numbers = parts.prompts_of(config.seed, t, update, layout.drawn.prompts)
        return run.programs.select(batch, *padded(numbers, layout.update))

    def draw(params: dict, host: HostBatch, t: int, stored: Rollouts | None = None) -> Drawn:
        return draw_batch(config, run.programs, run.mesh, params, run.reference, host, t, clock, stored)

    advantages = run.algorithm.advantages
    if advantages is None:
        raise ValueError(f"algorithm {run.algorithm.name} is fed with rewards: give it advantages")
    score = partial(score_batch, config, run.processor, run.rewards, advantages(config), run.mesh, clock)
    last = -(-config.train.steps // parts.updates)
    batches = make_loader(run.source.fetch, step // parts.updates, last, prefetch=2, threads=2)
    ahead = bool(config.rollout.ahead)
    return RolloutFeed(
        batches, draw, score, clock, updates=parts.updates, ahead=ahead, part=part, in_flight=in_flight
    )


GRPO = Algorithm(
    name="grpo",
    samples=True,
    group=lambda config: config.rollout.group,
    updates=lambda config: minibatches(config).updates,
    reference=lambda config: bool(config.loss.beta),
    loss=lambda config: partial(grpo_loss, config=loss_config(config)),
    advantages=advantages,
    check=check,
    check_example=lambda config, task, processor: lambda example: None,
    feed=feed,
    shown=shown,
)
