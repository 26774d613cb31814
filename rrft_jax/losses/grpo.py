"""GRPO and its relatives: surrogate x ratio level x aggregation, with KL and entropy as separate terms."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rrft_jax.arrays import HostOrDevice
from rrft_jax.doors import is_reference
from rrft_jax.losses import kl, outside, surrogate
from rrft_jax.losses.aggregate import AGGREGATIONS, aggregate
from rrft_jax.losses.masked import masked_sum, safe_divide
from rrft_jax.losses.selection import near_policy
from rrft_jax.losses.terms import Max, Min, Scores, Sum, Targets, Term

RATIO_LEVELS = ("token", "sequence")
KL_ESTIMATORS = {"k2": kl.k2, "k3": kl.k3}


@dataclasses.dataclass(frozen=True)
class GRPOLoss:
    """Which loss. The defaults are Reason-RFT's without KL penalty; `trl.py` has TRL's names.

    surrogate            on_policy | clipped | cispo | sapo, or a function of the user's own (surrogate.py)
    ratio_level          token | sequence (one ratio for a whole completion, GSPO)
    aggregation          sequence_mean_token_mean | token_mean | constant_length | sequence_sum (aggregate.py)
    epsilon_low, _high   clipped only: the ratio is clipped to [1 - low, 1 + high]
    cispo_cap            cispo only: the cap of the ratio; 5 as its authors suggest. TRL's loss_type="cispo" takes its
                         epsilon_high, 0.2 unless it is set, which scales every on-policy gradient by 0.2 (`trl.py`)
    delta, dual_clip     clipped only, None or > 1: a bound on the unclipped ratio (TRL), a bound on the loss at
                         negative advantages (verl's clip_ratio_c)
    importance_cap       None, or the policy loss of a token times min(p_old / p_sampling, cap), a constant: truncated
                         importance sampling, where tokens are drawn from another distribution than the scored one
                         (top-k, another temperature); TRL's vllm_importance_sampling_clip_max, mode token_truncate
    sapo_temperature_*   of the sigmoid gate at positive and at other advantages
    max_completion_length  tokens; read by constant_length
    beta                 coefficient of the KL penalty; 0 leaves it out
    kl_estimator         k2 | k3
    kl_ratio_correction  KL times the ratio, with gradient: unbiased when completions come from an older policy
                         (TRL's use_bias_correction_kl)
    entropy_coefficient  of a bonus on the mean entropy per token; 0 leaves it out
    off_policy_threshold  None, or the mean log-ratio old - new of its tokens, in nats, past which a completion with a
                         negative advantage has no policy loss (selection.near_policy)
    """

    surrogate: str = "on_policy"
    ratio_level: str = "token"
    aggregation: str = "sequence_mean_token_mean"
    epsilon_low: float = 0.2
    epsilon_high: float = 0.2
    cispo_cap: float = 5.0
    delta: float | None = None
    dual_clip: float | None = None
    importance_cap: float | None = None
    sapo_temperature_positive: float = 1.0
    sapo_temperature_negative: float = 1.05
    max_completion_length: int | None = None
    beta: float = 0.0
    kl_estimator: str = "k3"
    kl_ratio_correction: bool = False
    entropy_coefficient: float = 0.0
    off_policy_threshold: float | None = None

    def __post_init__(self) -> None:
        def check(field: str, good: Callable[[Any], Any], allowed: str) -> None:
            if not good(getattr(self, field)):
                raise ValueError(f"GRPOLoss.{field} must be {allowed}; got {getattr(self, field)!r}")

        if self.kl_estimator == "k1":
            raise ValueError(
                "GRPOLoss.kl_estimator must be k2 or k3; got 'k1', whose expected on-policy gradient is zero: as a "
                "penalty it would add noise and hold nothing back. It is logged as the metric kl_k1."
            )
        own = is_reference(self.surrogate)
        for field, names in (
            *(() if own else (("surrogate", tuple(surrogate.SURROGATES)),)),
            ("ratio_level", RATIO_LEVELS),
            ("aggregation", AGGREGATIONS),
            ("kl_estimator", tuple(KL_ESTIMATORS)),
        ):
            check(field, names.__contains__, f"one of {', '.join(names)}")
        for field in ("epsilon_low", "epsilon_high", "beta", "entropy_coefficient"):
            check(field, lambda x: x >= 0, "at least 0")
        for field in ("sapo_temperature_positive", "sapo_temperature_negative", "cispo_cap"):
            check(field, lambda x: x > 0, "positive")
        for field in ("delta", "dual_clip"):
            check(field, lambda x: x is None or x > 1, "None or greater than 1")
            if field not in outside.function_options(outside.find_surrogate(self.surrogate)):
                check(field, lambda x: x is None, f"None with surrogate {self.surrogate!r} (only 'clipped' reads it)")
        for field in ("importance_cap", "off_policy_threshold"):
            check(field, lambda x: x is None or x > 0, "None or positive")
        if own:
            outside.check_surrogate(self.surrogate, vars(self))
        if self.aggregation == "constant_length":
            check("max_completion_length", lambda x: x and x > 0, "positive with aggregation constant_length")


def grpo_loss(scores: Scores, targets: Targets, config: GRPOLoss) -> tuple[dict[str, Term], dict[str, Sum | Max | Min]]:
    """Terms (policy, and kl, entropy where their coefficients are not 0) and metrics under TRL's names.

    Formulas: TRL 1.16 `GRPOTrainer._compute_loss`; on_policy is the released Reason-RFT trainer's. Metrics are means
    over tokens (clip ratios of sequence ratios: over sequences); kl and kl_k1 need ref_log_probs, not beta.
    clip_ratio/low_min and high_max are over sequences; TRL's are over processes and so depend on how many there are.
    """
    _check_inputs(scores, targets, config)
    mask = targets.token_mask()
    rows = targets.row_weight
    # ty: _check_inputs has refused None, here and below.
    given: Any = targets.advantages
    if given.ndim == 2:
        given = given[..., None]
    advantages = jnp.where((rows > 0)[..., None] if given.shape[-1] == 1 else mask, given, 0.0)

    # Padding becomes 0 before any arithmetic: a NaN or an overflow behind `where` would still poison the gradient.
    log_probs = jnp.where(mask, scores.log_probs, 0.0)
    old = jax.lax.stop_gradient(log_probs if targets.old_log_probs is None else targets.old_log_probs)
    log_ratio = log_probs - jnp.where(mask, old, 0.0)
    if config.ratio_level == "token":
        ratio, ratio_mask = surrogate.token_ratio(log_ratio), mask
    else:
        ratio = surrogate.sequence_ratio(log_ratio, mask)
        ratio_mask = mask.any(-1, keepdims=True) if given.shape[-1] == 1 else mask

    def term(coefficient: float, x: Float[HostOrDevice, "B G #C"], how: str) -> Term:
        return Term(coefficient, *aggregate(x, mask, rows, how, config.max_completion_length))

    def token_mean(x: Float[HostOrDevice, "B G #C"]) -> Sum:
        return Sum(*aggregate(x, mask, rows, "token_mean"))

    policy = outside.policy_loss(config.surrogate, ratio, log_probs, advantages, vars(config))
    if config.importance_cap is not None:
        sampling = jnp.where(mask, targets.sampling_log_probs, 0.0)  # ty: ignore[invalid-argument-type]
        weight = jnp.minimum(surrogate.token_ratio(jnp.where(mask, old, 0.0) - sampling), config.importance_cap)
        policy = policy * jax.lax.stop_gradient(weight)
    if targets.chosen is not None:
        policy = jnp.where(targets.chosen, policy, 0.0)
    if config.off_policy_threshold is not None:
        near = near_policy(jax.lax.stop_gradient(log_probs), old, advantages, mask, config.off_policy_threshold)
        policy = jnp.where(near, policy, 0.0)
    terms = {"policy": term(1.0, policy, config.aggregation)}
    metrics: dict[str, Sum | Max | Min] = {"policy_loss": Sum(terms["policy"].sum, terms["policy"].weight)}
    if targets.ref_log_probs is not None:
        ref = jax.lax.stop_gradient(jnp.where(mask, targets.ref_log_probs, 0.0))
        penalty = KL_ESTIMATORS[config.kl_estimator](log_probs, ref) * (ratio if config.kl_ratio_correction else 1.0)
        if config.beta:
            terms["kl"] = term(config.beta, penalty, config.aggregation)
        metrics |= {"kl": token_mean(penalty), "kl_k1": token_mean(kl.k1(log_probs, ref))}
    if scores.entropy is not None:
        entropy = jnp.where(mask, scores.entropy, 0.0)
        if config.entropy_coefficient:
            terms["entropy"] = term(-config.entropy_coefficient, entropy, "token_mean")
        metrics["entropy"] = token_mean(entropy)
    if targets.sampling_log_probs is not None:
        gap = jnp.where(mask, jnp.abs(old - targets.sampling_log_probs), 0.0)
        metrics |= {
            "sampling/sampling_logp_difference/mean": token_mean(gap),
            "sampling/sampling_logp_difference/max": Max(gap.max()),
        }
    if config.importance_cap is not None:
        metrics |= {
            "sampling/importance_sampling_ratio/mean": token_mean(weight),
            "sampling/importance_sampling_ratio/min": Min(jnp.where(mask, weight, jnp.inf).min()),
            "sampling/importance_sampling_ratio/max": Max(jnp.where(mask, weight, -jnp.inf).max()),
        }
    if config.off_policy_threshold is not None:
        metrics["off_policy_masked"] = token_mean((~near).astype(jnp.float32))
    if targets.chosen is not None:
        metrics["top_entropy"] = token_mean(targets.chosen.astype(jnp.float32))
    metrics |= _clip_metrics(ratio, ratio_mask, advantages, rows, config)
    return terms, jax.lax.stop_gradient(metrics)


def _check_inputs(scores: Scores, targets: Targets, config: GRPOLoss) -> None:
    if targets.advantages is None:
        raise ValueError("Targets.advantages is None: GRPO needs them (group_advantages)")
    if config.surrogate == "on_policy" and targets.old_log_probs is not None:
        raise ValueError(
            "Targets.old_log_probs is given, but surrogate 'on_policy' takes the current policy for the one that drew "
            "the completions: leave it None, or choose surrogate 'clipped' for completions of an older policy"
        )
    if config.importance_cap is not None and targets.sampling_log_probs is None:
        raise ValueError("Targets.sampling_log_probs is None: importance_cap needs what the tokens were drawn with")
    if config.beta and targets.ref_log_probs is None:
        raise ValueError(f"Targets.ref_log_probs is None, beta is {config.beta}: score the reference, or set beta to 0")
    if config.entropy_coefficient and scores.entropy is None:
        raise ValueError("Scores.entropy is None: compute it in the scorer, or set entropy_coefficient to 0")


def _clip_metrics(
    ratio: Float[HostOrDevice, "B G #c"],
    mask: Bool[HostOrDevice, "B G c"],
    advantages: Float[HostOrDevice, "B G #c"],
    rows: Float[HostOrDevice, "B G"],
    config: GRPOLoss,
) -> dict[str, Sum | Max | Min]:
    """Shares of clipped ratios; c is C, or 1 for sequence ratios of advantages that are not per token."""

    def share(is_clipped: Bool[HostOrDevice, "B G c"]) -> Sum:
        return Sum(*aggregate(is_clipped.astype(jnp.float32), mask, rows, "token_mean"))

    def share_by_row(is_clipped: Bool[HostOrDevice, "B G c"]) -> Float[Array, "B G"]:
        return safe_divide(masked_sum(is_clipped, mask, -1), mask.sum(-1))

    if config.surrogate == "cispo":
        return {"cispo_clip_ratio": share((ratio > config.cispo_cap) & (advantages > 0))}
    if config.surrogate != "clipped":
        return {}
    low = (ratio < 1.0 - config.epsilon_low) & (advantages < 0)
    high = (ratio > 1.0 + config.epsilon_high) & (advantages > 0)
    seen = mask.any(-1)
    return {
        "clip_ratio/low_mean": share(low),
        "clip_ratio/high_mean": share(high),
        "clip_ratio/region_mean": share(low | high),
        "clip_ratio/low_min": Min(jnp.where(seen, share_by_row(low), jnp.inf).min()),
        "clip_ratio/high_max": Max(jnp.where(seen, share_by_row(high), -jnp.inf).max()),
    }
