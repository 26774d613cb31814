"""Supervised fine-tuning: cross-entropy of the reference completion, averaged over all its tokens in the batch."""

import jax
import jax.numpy as jnp

from rrft_jax.losses.aggregate import aggregate
from rrft_jax.losses.terms import Scores, Sum, Targets, Term


def sft_loss(scores: Scores, targets: Targets) -> tuple[dict[str, Term], dict[str, Sum]]:
    """The term cross_entropy in nats per token; metrics cross_entropy and, if it was scored, entropy."""
    mask = targets.token_mask()
    loss = -jnp.where(mask, scores.log_probs, 0.0)
    terms = {"cross_entropy": Term(1.0, *aggregate(loss, mask, targets.row_weight, "token_mean"))}
    metrics = {"cross_entropy": Sum(terms["cross_entropy"].sum, terms["cross_entropy"].weight)}
    if scores.entropy is not None:
        metrics["entropy"] = Sum(*aggregate(scores.entropy, mask, targets.row_weight, "token_mean"))
    return terms, jax.lax.stop_gradient(metrics)
