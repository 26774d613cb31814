"""The scores of a batch against whole sequences without a cache, softmax in NumPy float64; groups scored in parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrft_jax.training.parameters import partition
from rrft_jax.training.step import make_forward, make_gradient
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.models.build import quick_jit, select_prompts
from tests.rollout.reference import ALLOWED, MODEL, log_softmax, random_params, sequence_logits
from tests.training.problems import GROUP, ROWS, both_losses, example_batch, whole_gradient


def test_scores_are_those_of_whole_sequences():
    batch = example_batch()
    trainable, frozen = partition(random_params(), ["^vision/", "embed/"])
    tempered = make_forward(MODEL, jnp.asarray(ALLOWED), temperature=1.7, chunk=2)
    full = make_forward(MODEL, None, chunk=64)
    f = quick_jit(lambda t, f, b: (tempered(t, f, b), full(t, f, b)))
    scores, full_scores = f(trainable, frozen, batch)
    expected = jax.tree.map(np.array, (scores, full_scores))
    for b in range(ROWS):
        prompt = select_prompts(batch.prompts, [b])
        for g in range(GROUP):
            n = batch.token_mask[b, g].sum()
            tokens = batch.tokens[b, g, :n]
            z = sequence_logits(random_params(), prompt, tokens)[:-1]
            for out, logits in zip(expected, (np.where(ALLOWED, z, -np.inf) / 1.7, z), strict=True):
                log_p = log_softmax(logits)
                out.log_probs[b, g, :n] = log_p[np.arange(n), tokens]
                out.entropy[b, g, :n] = -(np.exp(log_p) * np.where(np.isfinite(log_p), log_p, 0)).sum(-1)
    slack = rounding(f, trainable, frozen, batch)
    assert_same_but_rounding((scores, full_scores), expected, slack)
    assert np.isfinite(scores.log_probs).all() and np.isfinite(scores.entropy).all(), "padding must be finite"


def chunked_gradient(group_chunks, micro_batches=1):
    forward = make_forward(MODEL, jnp.asarray(ALLOWED), chunk=2, group_chunks=group_chunks)
    return make_gradient(forward, both_losses, micro_batches)


def test_groups_in_parts_change_nothing():
    """In two micro-batches, too."""
    parts = quick_jit(chunked_gradient(GROUP, micro_batches=2))(random_params(), {}, example_batch())
    whole, slack = whole_gradient()
    assert_same_but_rounding(parts, whole, slack)


def tower_products(jaxpr, width, runs=1):
    """How often products over `width` (a flattened patch) are executed: a scan's body counts once per iteration, of
    branches one."""
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            total += runs * any(width in x.aval.shape for x in eqn.invars)
        inner = runs * eqn.params.get("length", 1) if eqn.primitive.name == "scan" else runs
        parts = [tower_products(sub, width, inner) for sub in jax.core.jaxprs_in_params(eqn.params)]
        total += max(parts) if eqn.primitive.name == "cond" else sum(parts)
    return total


def test_groups_in_parts_run_the_tower_once():
    width = MODEL.config.vision.patch_dim
    batch = example_batch()
    counts = [
        tower_products(jax.make_jaxpr(chunked_gradient(n))(random_params(), {}, batch).jaxpr, width) for n in (1, GROUP)
    ]
    assert counts == [2, 2], "one product for the patches, one for their kernel's gradient"


def test_parts_must_divide_the_group():
    with pytest.raises(ValueError, match="train.group_chunks=3 must divide the 2 completions"):
        jax.eval_shape(chunked_gradient(3), random_params(), {}, example_batch())
