"""Losses as pure functions on arrays: what to maximise, never how the log-probabilities were computed."""

from rrft_jax.losses.advantages import group_advantages
from rrft_jax.losses.grpo import GRPOLoss, grpo_loss
from rrft_jax.losses.sft import sft_loss
from rrft_jax.losses.terms import Max, Min, Scores, Sum, Targets, Term, finalize, merge_stacked, total
from rrft_jax.losses.trl import PAPER_ADVANTAGES, trl

__all__ = [
    "GRPOLoss",
    "Max",
    "Min",
    "PAPER_ADVANTAGES",
    "Scores",
    "Sum",
    "Targets",
    "Term",
    "finalize",
    "group_advantages",
    "grpo_loss",
    "merge_stacked",
    "sft_loss",
    "total",
    "trl",
]
