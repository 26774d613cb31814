"""The scores of a batch against whole sequences without a cache, softmax in NumPy float64."""

import jax.numpy as jnp
import numpy as np

from rrft_jax.training.forward import make_forward
from rrft_jax.training.tree import partition
from tests.models.build import quick_jit, select_prompts
from tests.rollout.reference import LAW, MODEL, log_softmax, random_params, sequence_logits
from tests.training.problems import GROUP, ROWS, example_batch


def test_scores_are_those_of_whole_sequences():
    batch = example_batch()
    trainable, frozen = partition(random_params(), ["^vision/", "embed/"])
    tempered = make_forward(MODEL, jnp.asarray(LAW), temperature=1.7, chunk=2)
    full = make_forward(MODEL, None, chunk=64)
    scores, full_scores = quick_jit(lambda t, f, b: (tempered(t, f, b), full(t, f, b)))(trainable, frozen, batch)
    for b in range(ROWS):
        prompt = select_prompts(batch.prompts, [b])
        for g in range(GROUP):
            n = batch.token_mask[b, g].sum()
            tokens = batch.tokens[b, g, :n]
            z = sequence_logits(random_params(), prompt, tokens)[:-1]
            for ours, law in ((scores, np.where(LAW, z, -np.inf) / 1.7), (full_scores, z)):
                expected = log_softmax(law)
                np.testing.assert_allclose(
                    ours.log_probs[b, g, :n], expected[np.arange(n), tokens], rtol=0, atol=1e-5
                )
                entropy = -(np.exp(expected) * np.where(np.isfinite(expected), expected, 0)).sum(-1)
                np.testing.assert_allclose(ours.entropy[b, g, :n], entropy, rtol=0, atol=1e-5)
    assert np.isfinite(scores.log_probs).all() and np.isfinite(scores.entropy).all(), "padding must be finite"
