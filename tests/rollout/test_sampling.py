"""From logits to a token: truncation from its definition, hand-worked cases, frequencies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rrft_jax.rollout.sampling import Sampling, draw, truncate
from tests.rollout.reference import log_softmax, truncate_slowly


def kept(probabilities, sampling):
    """Indices that survive."""
    z = truncate(jnp.log(jnp.array(probabilities, jnp.float32)), sampling)
    return np.flatnonzero(np.asarray(z) > -1e29).tolist()


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    quarters=st.lists(st.integers(-16, 16), min_size=9, max_size=9),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
    top_k=st.integers(0, 10),
    top_p=st.floats(0.01, 1.0),
)
def test_truncate_follows_the_definitions(quarters, temperature, top_k, top_p):
    z = np.array(quarters, np.float32) / 4  # few values, so that ties are common
    after_k = truncate_slowly(z, Sampling(temperature, top_k))
    p = np.exp(log_softmax(after_k))
    masses = [p[after_k > x].sum() for x in after_k]
    assume(all(abs(mass - top_p) > 1e-5 for mass in masses))  # rounding decides there
    sampling = Sampling(temperature, top_k, top_p)
    expected = truncate_slowly(z, sampling)
    ours = np.asarray(truncate(jnp.asarray(z), sampling))
    np.testing.assert_array_equal(ours > -1e29, np.isfinite(expected))
    np.testing.assert_allclose(ours[ours > -1e29], expected[np.isfinite(expected)], rtol=1e-6)


@pytest.mark.parametrize(
    ("probabilities", "sampling", "expected"),
    [
        ([0.05, 0.5, 0.15, 0.3], Sampling(top_k=2), [1, 3]),
        ([0.05, 0.5, 0.15, 0.3], Sampling(top_k=1), [1]),
        ([0.05, 0.5, 0.15, 0.3], Sampling(top_k=4), [0, 1, 2, 3]),
        ([0.05, 0.5, 0.15, 0.3], Sampling(top_k=99), [0, 1, 2, 3]),
        ([0.05, 0.5, 0.15, 0.3], Sampling(top_p=0.45), [1]),
        ([0.05, 0.5, 0.15, 0.3], Sampling(top_p=0.6), [1, 3]),  # 0.5 does not reach 0.6, 0.8 does
        ([0.05, 0.5, 0.15, 0.3], Sampling(top_p=0.9), [1, 2, 3]),
        ([0.05, 0.5, 0.15, 0.3], Sampling(top_p=1e-6), [1]),
        # Top-k first: the two left hold 4/7 and 3/7 of the mass, so 0.5 is reached by one. The nucleus first keeps two.
        ([0.4, 0.3, 0.2, 0.1], Sampling(top_k=2, top_p=0.5), [0]),
        # Temperature first: at 2 the roots are sampled, 0.4725 and 0.2673 and twice 0.1301, so 0.6 takes two.
        ([0.66, 0.2, 0.07, 0.07], Sampling(top_p=0.6), [0]),
        ([0.66, 0.2, 0.07, 0.07], Sampling(2.0, top_p=0.6), [0, 1]),
        # Ties with the last one kept are kept.
        ([0.4, 0.2, 0.2, 0.2], Sampling(top_k=2), [0, 1, 2, 3]),
        ([0.4, 0.25, 0.25, 0.1], Sampling(top_p=0.5), [0, 1, 2]),
        ([0.25, 0.25, 0.25, 0.25], Sampling(top_p=0.1), [0, 1, 2, 3]),
    ],
)
def test_hand_worked(probabilities, sampling, expected):
    assert kept(probabilities, sampling) == expected


def test_forbidden_tokens_stay_out_of_a_wide_nucleus():
    z = jnp.array([0.5, -1e30, 1.0, -1e30])
    for sampling in (Sampling(1e6, top_k=3, top_p=0.999), Sampling(0.1, top_k=3, top_p=0.999)):
        p = jax.nn.softmax(truncate(z, sampling))
        assert (p[jnp.array([1, 3])] == 0).all() and (p[jnp.array([0, 2])] > 0).all()


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.5), Sampling(1.5, top_k=4), Sampling(top_p=0.7)], ids=str)
def test_frequencies_are_those_of_the_distribution(sampling):
    count = 20_000
    z = np.array([1.0, 0.0, -1.0, 2.0, 0.5, -2.0], np.float32)
    keys = jax.random.split(jax.random.key(11), (1, count))
    tokens, log_probs = draw(jnp.broadcast_to(z, (1, count, 6)), keys, sampling)
    tokens, log_probs = np.asarray(tokens)[0], np.asarray(log_probs)[0]
    truncated = log_softmax(truncate_slowly(z, sampling))
    np.testing.assert_allclose(log_probs, truncated[tokens], atol=1e-5)
    expected = count * np.exp(truncated)
    observed = np.bincount(tokens, minlength=6)
    assert (observed[expected == 0] == 0).all()
    inside = expected > 0
    chi_square = ((observed - expected)[inside] ** 2 / expected[inside]).sum()
    assert chi_square < 20.5, "99.9 % of fair samples with 5 degrees of freedom lie below"


def test_greedy_takes_the_first_of_the_largest():
    z = jnp.array([[[0.0, 3.0, 3.0], [5.0, 1.0, 2.0]]])
    tokens, log_probs = draw(z, jax.random.split(jax.random.key(0), (1, 2)), Sampling(0))
    assert tokens.tolist() == [[1, 0]] and log_probs.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_give_a_token_of_the_vocabulary(temperature):
    z = jnp.array([[[0.0, jnp.nan, 3.0], [jnp.nan] * 3]])
    tokens, _ = draw(z, jax.random.split(jax.random.key(0), (1, 2)), Sampling(temperature))
    assert all(0 <= token < 3 for token in tokens[0].tolist())


def test_a_draw_is_the_largest_of_logits_and_gumbel_noise():
    z, keys = jax.random.normal(jax.random.key(1), (2, 3, 700)), jax.random.split(jax.random.key(2), (2, 3))
    noise = np.array([[jax.random.gumbel(key, (700,)) for key in row] for row in keys])
    assert draw(z, keys, Sampling())[0].tolist() == np.argmax(np.asarray(z) + noise, axis=-1).tolist()


def test_equal_keys_draw_equal_tokens():
    z = jnp.zeros((1, 3, 50))
    a, b = jax.random.split(jax.random.key(0))
    first, second, third = draw(z, jnp.stack([a, b, a])[None], Sampling())[0][0].tolist()
    assert first == third != second


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1), ("temperature", float("nan")), ("temperature", float("inf")),
        ("top_k", -1), ("top_p", 0.0), ("top_p", 1.1), ("top_p", float("nan")),
    ],
)  # fmt: skip
def test_refused_with_the_field_named(field, value):
    with pytest.raises(ValueError, match=field):
        Sampling(**{field: value})
