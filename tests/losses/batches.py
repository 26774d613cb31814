"""Batches for the loss tests: random ones, and the golden TRL batches as [rows, 1, C]."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from rrft_jax.losses import GRPOLoss, Scores, Targets, trl
from rrft_jax.losses.terms import merge_stacked
from tests.golden import golden_path


def paper() -> GRPOLoss:
    """Reason-RFT's released trainer: one on-policy step per rollout, so nothing to clip; use with PAPER_ADVANTAGES."""
    return GRPOLoss(
        surrogate="on_policy",
        ratio_level="token",
        aggregation="sequence_mean_token_mean",
        beta=0.04,
        kl_estimator="k3",
    )


def merge(a, b):
    """Terms and metrics of two parts of a batch, to those of the whole."""
    return merge_stacked(jax.tree.map(lambda x, y: jnp.stack([x, y]), a, b))


def random_batch(seed, b=4, g=3, c=6):
    """Scores and Targets of NumPy arrays, off policy, with mixed lengths and a padding row."""
    rng = np.random.default_rng(seed)
    log_probs = -rng.exponential(1.0, (b, g, c)).astype(np.float32)
    lengths = rng.integers(1, c + 1, (b, g))
    row_weight = np.ones((b, g), np.float32)
    row_weight[-1, -1] = 0.0
    targets = Targets(
        loss_mask=np.arange(c) < lengths[..., None],
        row_weight=row_weight,
        advantages=rng.normal(size=(b, g)).astype(np.float32),
        old_log_probs=log_probs + rng.normal(0, 0.3, (b, g, c)).astype(np.float32),
        ref_log_probs=log_probs + rng.normal(0, 0.5, (b, g, c)).astype(np.float32),
    )
    return Scores(log_probs, rng.exponential(1.0, (b, g, c)).astype(np.float32)), targets


def golden_batch(folder):
    """Scores, Targets, epsilons, max_completion_length and the losses of one golden TRL folder."""
    recorded = json.loads(golden_path(f"{folder}/losses.json").read_text())
    with np.load(golden_path(f"{folder}/batch.npz")) as arrays:
        batch = {name: arrays[name] for name in arrays.files}

    def rows(name):
        return jnp.asarray(batch[name])[:, None]

    targets = Targets(
        loss_mask=rows("completion_mask").astype(bool),
        row_weight=jnp.ones((len(batch["advantages"]), 1)),
        advantages=rows("advantages"),
        old_log_probs=rows("old_per_token_logps"),
        ref_log_probs=rows("ref_per_token_logps"),
    )
    assert int(batch["num_items_in_batch"]) == batch["completion_mask"].sum()
    return Scores(rows("logps"), rows("entropy")), targets, recorded


def golden_loss(name, recorded):
    """The GRPOLoss that losses.json calls `name`, such as grpo|token|beta=0.04|bias_kl=True."""
    loss_type, level, beta, correction = name.split("|")
    low, high = recorded["epsilon"]
    return trl(
        loss_type,
        level,
        epsilon=low,
        epsilon_high=high,
        beta=float(beta.removeprefix("beta=")),
        use_bias_correction_kl=correction == "bias_kl=True",
        max_completion_length=recorded["max_completion_length"],
    )
