"""PPO (Schulman et al., arXiv 1707.06347): a critic on the decoder, credit for every token, no need of groups."""

from dataclasses import replace
from functools import partial

import jax
from ml_collections import ConfigDict

from rrft_jax.config.groups import read
from rrft_jax.losses.outside import estimate_advantages
from rrft_jax.losses.ppo import PPOLoss, credit, ppo_loss
from rrft_jax.run.clock import Clock
from rrft_jax.tasks.task import Task
from rrft_jax.training.algorithm import Run
from rrft_jax.training.algorithms import grpo
from rrft_jax.training.critic import Critic
from rrft_jax.training.feed import InFlight, RolloutFeed
from rrft_jax.training.rollouts import Drawn, Scored, off_policy, samples_what_it_scores


def critic(config: ConfigDict) -> Critic:
    ppo = read(config, "ppo")
    return Critic(ppo.value_peak, ppo.trunk, ppo.critic_warmup)


def check(config: ConfigDict, task: Task) -> None:
    grpo.check(config, task, least_group=1)
    ppo = read(config, "ppo")
    if config.advantages.estimator != "grpo":
        raise ValueError(
            f"config.advantages.estimator={config.advantages.estimator} would change nothing: config.algorithm=ppo "
            "has its critic (config.ppo.gamma, config.ppo.lam)"
        )
    if ppo.kl_in_reward and config.loss.beta:
        raise ValueError(
            f"config.ppo.kl_in_reward={ppo.kl_in_reward} and config.loss.beta={config.loss.beta} both hold the policy "
            "near the reference: leave one of them at 0"
        )
    if ppo.kl_in_reward and not (off_policy(config) or samples_what_it_scores(config)):
        raise ValueError(
            "config.ppo.kl_in_reward compares scored log-probs, and tokens are drawn from another distribution than "
            "the scored one: set config.train.minibatches or rollout_epochs to 2, or config.loss.temperature=1"
        )


def feed(run: Run, clock: Clock, step: int, in_flight: InFlight | None) -> RolloutFeed:
    return grpo.feed(run, clock, step, in_flight, then=partial(_with_credit, read(run.config, "ppo").loss()))


def _with_credit(config: PPOLoss, drawn: Drawn, scored: Scored) -> Scored:
    """The batch with advantages, returns and values of each token, in place of the rewards."""
    batch = scored.batch
    rollouts = drawn.rollouts
    targets, statistics = _credit(batch.targets.advantages, batch.targets, rollouts.log_probs, rollouts.values, config)
    found = {name: float(value) for name, value in statistics.items()}
    return replace(scored, batch=replace(batch, targets=targets), metrics=scored.metrics | found)


_credit = jax.jit(credit, static_argnums=4)


def _rewards(rewards, row_weight, inputs):
    """Rewards as they are, NaN where missing, with the statistics of groups: the critic gives credit later."""
    del inputs
    return rewards, estimate_advantages(rewards, row_weight)[1]


PPO = replace(
    grpo.GRPO,
    name="ppo",
    reference=lambda config: bool(config.loss.beta or config.ppo.kl_in_reward),
    loss=lambda config: partial(ppo_loss, config=grpo.loss_config(config), ppo=read(config, "ppo").loss()),
    advantages=lambda config: _rewards,
    check=check,
    feed=feed,
    critic=critic,
    preset={"loss.surrogate": "clipped", "loss.aggregation": "token_mean", "train.minibatches": 2},
)
