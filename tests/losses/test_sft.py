"""SFT's cross-entropy, and the algebra of terms and metrics."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrft_jax.losses import Max, Min, Scores, Sum, Term, finalize, merge_stacked, sft_loss, total
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.losses.batches import merge, random_batch


def test_token_mean_of_real_rows():
    scores, targets = random_batch(4, g=1)
    scores.log_probs[-1] = np.nan  # the padding row
    mask = targets.loss_mask & (targets.row_weight > 0)[..., None]

    @jax.jit
    def f(scores):
        (loss, metrics), slopes = jax.value_and_grad(objective, has_aux=True)(scores)
        return loss, metrics, slopes.log_probs

    def objective(scores):
        terms, metrics = sft_loss(scores, targets)
        return total(terms), finalize(metrics)

    loss, entropy = (x[mask].astype(float).mean() for x in (-scores.log_probs, scores.entropy))
    expected = loss, {"cross_entropy": loss, "entropy": entropy}, np.where(mask, -1 / mask.sum(), 0.0)
    assert_same_but_rounding(f(scores), expected, rounding(f, scores))


def test_row_weights_and_no_entropy():
    scores, targets = random_batch(4, b=2, g=1)
    targets = dataclasses.replace(targets, row_weight=np.array([[1.0], [3.0]], np.float32))
    sums = np.where(targets.loss_mask, -scores.log_probs, 0).sum(-1)[:, 0]
    tokens = targets.loss_mask.sum(-1)[:, 0]
    terms, metrics = sft_loss(Scores(scores.log_probs), targets)
    slack = rounding(lambda x: total(sft_loss(Scores(x), targets)[0]), scores.log_probs)
    assert_same_but_rounding(total(terms), (sums @ [1, 3]) / (tokens @ [1, 3]), slack)
    assert set(metrics) == {"cross_entropy"}


def numbers(*values):
    return [jnp.float32(value) for value in values]


def test_merging_and_finalizing_by_hand():
    a, b = numbers(1, 2), numbers(3, 6)
    left = {"t": Term(0.5, *a), "s": Sum(*a), "max": Max(a[0]), "min": Min(a[0])}
    right = {"t": Term(0.5, *b), "s": Sum(*b), "max": Max(b[0]), "min": Min(b[0])}
    merged = merge(left, right)
    assert merged["t"] == Term(0.5, 4.0, 8.0)
    assert total({"t": merged.pop("t")}) == 0.25
    assert finalize(merged) == {"s": 0.5, "max": 3.0, "min": 1.0}
    with pytest.raises(ValueError):
        merge(Term(0.5, *a), Term(0.4, *b))  # not the same loss
    with pytest.raises(TypeError, match="not float"):
        merge_stacked({"x": 1.0})


def test_weightless_terms_and_metrics():
    nothing = Term(2.0, *numbers(0, 0))
    assert total({"a": nothing, "b": Term(1.0, *numbers(3, 2))}) == 1.5
    slope = jax.grad(lambda x: total({"a": Term(2.0, x, jnp.float32(0))}))(1.0)
    assert slope == 0
    empty = finalize({"s": Sum(*numbers(0, 0)), "max": Max(jnp.float32(-np.inf)), "min": Min(jnp.float32(np.inf))})
    assert all(np.isnan(value) for value in empty.values())
    assert finalize({"max": Max(jnp.float32(np.inf))})["max"] == np.inf  # an overflow is not hidden
