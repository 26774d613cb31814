"""GRPO and its relatives: groups of sampled completions, rewards, advantages within the group."""

from collections.abc import Callable, Sequence
from functools import partial

from ml_collections import ConfigDict

from rrft_jax.config.groups import read
from rrft_jax.data.loader import make_loader
from rrft_jax.doors import is_reference
from rrft_jax.losses.advantages import SCALES
from rrft_jax.losses.estimators import OF_ONE
from rrft_jax.losses.grpo import GRPOLoss, grpo_loss
from rrft_jax.losses.outside import check_estimator, estimate_advantages, find_surrogate, function_options
from rrft_jax.losses.surrogate import SURROGATES
from rrft_jax.losses.trl import LOSS_TYPES
from rrft_jax.rollout.sampler import Rollouts
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.run.clock import Clock
from rrft_jax.run.progress import Shown
from rrft_jax.tasks.task import Task
from rrft_jax.training.algorithm import Algorithm, Run
from rrft_jax.training.algorithms.resampling import ResampledFeed
from rrft_jax.training.batches import HostBatch
from rrft_jax.training.feed import InFlight, RolloutFeed
from rrft_jax.training.minibatches import Minibatches, padded
from rrft_jax.training.programs import step_layout
from rrft_jax.training.rewarding import RewardResults
from rrft_jax.training.rollouts import (
    Drawn,
    Scored,
    completions_per_prompt,
    draw_batch,
    draws_what_it_scores,
    score_batch,
)
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


def check(config: ConfigDict, task: Task, least_group: int = 2) -> None:
    """ValueError that names a field of the sampler, the advantages or the loss which is wrong, or which cannot act.

    least_group: completions of a prompt that the algorithm needs, unless its estimator can do with one.
    """
    del task
    rollout = config.rollout
    for field in ("ddof", "epsilon"):
        if not config.advantages[field] >= 0:
            raise ValueError(f"config.advantages.{field}={config.advantages[field]} must be at least 0")
    estimator = config.advantages.estimator
    if config.advantages.scale not in SCALES:
        raise ValueError(f"config.advantages.scale={config.advantages.scale!r}: choose one of {', '.join(SCALES)}")
    check_estimator(**config.advantages)
    if rollout.group < 1:
        raise ValueError(f"config.rollout.group={rollout.group} must be at least 1")
    if rollout.group < least_group and estimator not in OF_ONE:
        raise ValueError(
            f"config.rollout.group={rollout.group}: {estimator.upper()} compares the members of a group, give >= 2"
        )
    completions = completions_per_prompt(config)
    if completions % config.train.group_chunks:
        more = ", and one decoded greedily" if completions > rollout.group else ""
        raise ValueError(
            f"config.train.group_chunks={config.train.group_chunks} must divide the {completions} completions of a "
            f"prompt (config.rollout.group{more})"
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
    if rollout.ahead not in (0, 1):
        raise ValueError(f"config.rollout.ahead={rollout.ahead}: completions are drawn 0 or 1 steps ahead")
    if rollout.resample and rollout.ahead:
        raise ValueError(
            f"config.rollout.resample={rollout.resample} draws until the rewards of enough groups differ, and "
            "config.rollout.ahead=1 draws before they are known: leave one of them out"
        )
    if not 0 < config.loss.top_entropy <= 1:
        raise ValueError(f"config.loss.top_entropy={config.loss.top_entropy} is a share of the tokens: (0, 1]")
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
    taken = set(function_options(find_surrogate(loss.surrogate)))
    of_some = {name: other for other, function in SURROGATES.items() for name in function_options(function)}
    for name in sorted(changed & of_some.keys() - taken - cap_of_type):
        refuse(name, f"only config.loss.surrogate={of_some[name]} reads it, and this is {loss.surrogate}")
    if not off_policy and not is_reference(loss.surrogate):
        small_cap = {"cispo_cap", "epsilon_high"} if loss.surrogate == "cispo" and loss.cispo_cap < 1 else set()
        small_cap |= {"surrogate"} if small_cap else set()
        for name in sorted(changed & {*of_some, "ratio_level", "surrogate", "off_policy_threshold"} - small_cap):
            if name != "surrogate" or not config.loss.type:
                refuse(name, MORE_UPDATES)
    if loss.importance_cap is not None and draws_what_it_scores(config):
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
    """(rewards, row_weight, inputs) -> (advantages, statistics), by config.advantages."""
    return partial(estimate_advantages, **config.advantages)


def shown(config: ConfigDict, task: Task) -> Sequence[Shown]:
    """Reward, the task's own measure, KL and speed."""
    del config
    return (
        ("reward", "reward", "{:.3f}"),
        *task.shown(),
        ("kl", "kl", "{:.4f}"),
        ("tok/s", "tokens_per_second", "{:,.0f}"),
    )


def feed(
    run: Run,
    clock: Clock,
    step: int,
    in_flight: InFlight | None,
    then: Callable[[Drawn, Scored], Scored] = lambda drawn, scored: scored,
) -> RolloutFeed:
    """Sampled batches from update `step` on, each for the updates that config.train asks for.

    then: what an algorithm makes of a scored batch.
    """
    config, parts = run.config, minibatches(run.config)
    layout = step_layout(read(config, "train"), run.algorithm.group(config), run.mesh)

    def part(batch: Batch, t: int, update: int) -> Batch:
        if parts.count == 1:
            return batch
        numbers = parts.prompts_of(config.seed, t, update, layout.drawn.prompts)
        return run.programs.select(batch, *padded(numbers, layout.update))

    def draw(params: dict, host: HostBatch, t: int, stored: Rollouts | None = None) -> Drawn:
        return draw_batch(config, run.programs, run.mesh, params, run.reference, host, t, clock, stored)

    if run.algorithm.advantages is None:
        raise ValueError(f"algorithm {run.algorithm.name} is fed with rewards: give it advantages")
    estimator = run.algorithm.advantages(config)

    def score(drawn: Drawn, known: RewardResults | None = None) -> Scored:
        return then(drawn, score_batch(config, run.processor, run.rewards, estimator, run.mesh, clock, drawn, known))

    last, draws = -(-config.train.steps // parts.updates), 1 + config.rollout.resample
    first_of_step = lambda t: run.source.fetch(t * draws)  # noqa: E731
    batches = make_loader(first_of_step, step // parts.updates, last, prefetch=2, threads=2)
    common = {"updates": parts.updates, "part": part, "in_flight": in_flight}
    if draws > 1:
        return ResampledFeed(
            batches, draw, score, clock, fetch=run.source.fetch, pick=run.source.pick, draws=draws,
            members=config.rollout.group, **common,
        )  # fmt: skip
    return RolloutFeed(batches, draw, score, clock, ahead=bool(config.rollout.ahead), **common)


GRPO = Algorithm(
    name="grpo",
    samples=True,
    group=completions_per_prompt,
    updates=lambda config: minibatches(config).updates,
    reference=lambda config: bool(config.loss.beta),
    loss=lambda config: partial(grpo_loss, config=loss_config(config)),
    advantages=advantages,
    check=check,
    check_example=lambda config, task, processor: lambda example: None,
    feed=feed,
    shown=shown,
)
