"""All 42 losses of two batches scored by TRL 1.16.0 (values; gradient norms need the model and are tested with it)."""

import pytest

from rrft_jax.losses import grpo_loss, total, trl
from tests.losses.batches import golden_batch

FOLDERS = ("trl_grpo", "trl_grpo_padded")


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_recorded_loss(folder):
    scores, targets, recorded = golden_batch(folder)
    low, high = recorded["epsilon"]
    wrong = {}
    for name, (expected, _) in recorded["losses"].items():
        loss_type, level, beta, correction = name.split("|")
        config = trl(
            loss_type,
            level,
            epsilon=low,
            epsilon_high=high,
            beta=float(beta.removeprefix("beta=")),
            use_bias_correction_kl=correction == "bias_kl=True",
            max_completion_length=recorded["max_completion_length"],
        )
        value = float(total(grpo_loss(scores, targets, config)[0]))
        if abs(value - expected) > 1e-4 * abs(expected):
            wrong[name] = (value, expected)
    assert len(recorded["losses"]) == 42
    assert not wrong
