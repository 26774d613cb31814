"""Every loss of batches scored by TRL 1.16.0 (values; gradient norms need the model and are tested with it)."""

import jax
import pytest

from rrft_jax.losses import grpo_loss, total
from tests.golden import trl_folders
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.losses.batches import golden_batch, golden_loss
from tests.models.build import quick_jit


@pytest.mark.parametrize("folder", trl_folders())
def test_every_recorded_loss(folder):
    scores, targets, recorded = golden_batch(folder)
    scores, targets = jax.device_get((scores, targets))
    configs = {name: golden_loss(name, recorded) for name in recorded["losses"]}
    losses = quick_jit(lambda s, t: {name: total(grpo_loss(s, t, config)[0]) for name, config in configs.items()})
    expected = {name: loss for name, (loss, _) in recorded["losses"].items()}
    assert expected
    assert_same_but_rounding(losses(scores, targets), expected, rounding(losses, scores, targets))
