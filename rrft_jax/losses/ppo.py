"""PPO: a policy loss of `grpo_loss` with advantages per token, and the critic's loss as a further term."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rrft_jax.arrays import HostOrDevice
from rrft_jax.losses.aggregate import aggregate
from rrft_jax.losses.gae import gae
from rrft_jax.losses.grpo import GRPOLoss, grpo_loss
from rrft_jax.losses.kl import k1
from rrft_jax.losses.terms import Max, Min, Scores, Sum, Targets, Term
from rrft_jax.losses.value import explained_variance, value_loss
from rrft_jax.losses.whitening import whiten


@dataclasses.dataclass(frozen=True)
class PPOLoss:
    """gamma, lam        of generalised advantage estimation
    whiten            advantages over all tokens of the batch to mean 0, variance 1
    kl_in_reward      coefficient of old - reference log-prob of each token, taken off its reward; 0: none
    value_clip        how far a value may move from the one at the rollout before its loss stops falling; 0: any way
    value_coefficient of the critic's loss in the sum
    """

    gamma: float = 1.0
    lam: float = 0.95
    whiten: bool = True
    kl_in_reward: float = 0.0
    value_clip: float = 0.2
    value_coefficient: float = 0.5

    def __post_init__(self):
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"PPOLoss.{name}={getattr(self, name)} must lie in [0, 1]")
        for name in ("kl_in_reward", "value_clip"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"PPOLoss.{name}={getattr(self, name)} must be at least 0")
        if not self.value_coefficient > 0:
            raise ValueError(f"PPOLoss.value_coefficient={self.value_coefficient} must be positive: the critic learns")


def token_rewards(
    rewards: Float[HostOrDevice, "B G"],
    mask: Bool[HostOrDevice, "B G C"],
    old_log_probs: Float[HostOrDevice, "B G C"],
    ref_log_probs: Float[HostOrDevice, "B G C"] | None,
    kl_in_reward: float,
) -> Float[Array, "B G C"]:
    """The reward of a completion at its last token, less the KL penalty of every token (Ziegler et al., 1909.08593)."""
    last = jnp.arange(mask.shape[-1]) == mask.sum(-1, keepdims=True) - 1
    found = jnp.where(last, jnp.asarray(rewards)[..., None], 0.0)
    if kl_in_reward:
        found = found - kl_in_reward * k1(old_log_probs, ref_log_probs)
    return jnp.where(mask, found, 0.0)


def credit(
    rewards: Float[HostOrDevice, "B G"],
    targets: Targets,
    old_log_probs: Float[HostOrDevice, "B G C"],
    values: Float[HostOrDevice, "B G C"],
    config: PPOLoss,
) -> tuple[Targets, dict[str, Float[Array, ""]]]:
    """`targets` of the whole batch with advantages, returns and old values of each token, and statistics.

    rewards: not finite means missing: such a completion has advantage 0 and no value loss (its returns are NaN).
    """
    known = jnp.isfinite(rewards)
    mask = targets.token_mask() & known[..., None]
    earned = token_rewards(
        jnp.where(known, rewards, 0.0), mask, old_log_probs, targets.ref_log_probs, config.kl_in_reward
    )
    advantages, returns = gae(earned, values, mask, config.gamma, config.lam)
    statistics = {
        "critic/explained_variance": explained_variance(jnp.where(mask, values, 0.0), returns, mask),
        "critic/returns": jnp.where(mask, returns, 0.0).sum() / mask.sum(),
        "critic/values": jnp.where(mask, values, 0.0).sum() / mask.sum(),
    }
    if config.whiten:
        advantages = whiten(advantages, mask)
    returns = jnp.where(mask, returns, jnp.nan)
    return dataclasses.replace(targets, advantages=advantages, returns=returns, old_values=values), statistics


def ppo_loss(
    scores: Scores, targets: Targets, config: GRPOLoss, ppo: PPOLoss
) -> tuple[dict[str, Term], dict[str, Sum | Max | Min]]:
    """The terms and metrics of `grpo_loss`, and the term value with the metrics value_loss and critic/clip_ratio."""
    terms, metrics = grpo_loss(scores, targets, config)
    if scores.values is None or targets.returns is None or targets.old_values is None:
        raise ValueError("PPO needs Scores.values, Targets.returns and Targets.old_values: score with a value head")
    mask = targets.token_mask() & jnp.isfinite(targets.returns)
    values, old, returns = (jnp.where(mask, x, 0.0) for x in (scores.values, targets.old_values, targets.returns))
    loss = value_loss(values, old, returns, ppo.value_clip)
    terms["value"] = Term(ppo.value_coefficient, *aggregate(loss, mask, targets.row_weight, "token_mean"))
    more = {"value_loss": Sum(terms["value"].sum, terms["value"].weight)}
    if ppo.value_clip:
        moved = (jnp.abs(values - old) > ppo.value_clip).astype(jnp.float32)
        more["critic/clip_ratio"] = Sum(*aggregate(moved, mask, targets.row_weight, "token_mean"))
    return terms, metrics | jax.lax.stop_gradient(more)
