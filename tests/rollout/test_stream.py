"""Tokens one by one are the tokens of the sampler."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from rrft_jax.rollout.decoder import Decoder
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.rollout.stream import make_stream
from tests.models.build import random_prompts, select_prompts
from tests.rollout.reference import ALLOWED, EOS, MODEL, PAD, make_sampler, random_params

pytestmark = pytest.mark.usefixtures("quick_programs")
KEY, LENGTH = jax.random.key(5), 10
THREE = select_prompts(random_prompts(seed=2), [0, 1, 2])
PROMPTS = replace(THREE, prompt_id=np.array([7, 100_003, 2**31 - 1], np.int32))


@pytest.fixture
def traces(monkeypatch):
    """Grows by one whenever a program that holds the prompt, or one token, is compiled."""
    seen = []
    for name in ("prefix_of", "extend"):
        original = getattr(type(MODEL), name)
        monkeypatch.setattr(type(MODEL), name, lambda *a, n=name, f=original, **k: seen.append(n) or f(*a, **k))
    return seen


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(0.7, top_k=12, top_p=0.8), Sampling(0)], ids=["plain", "truncated", "greedy"]
)
def test_stream_is_the_first_member_of_the_group(sampling, traces):
    stream = make_stream(Decoder(MODEL, ALLOWED, EOS, PAD, LENGTH, sampling))
    rollouts = make_sampler(group=2, length=LENGTH, sampling=sampling)(random_params(), PROMPTS, KEY)
    traces.clear()  # the sampler's own
    ended = set()
    for b in range(3):
        tokens = list(stream(random_params(), select_prompts(PROMPTS, [b]), KEY))
        assert tokens == rollouts.tokens[b, 0][rollouts.mask[b, 0]].tolist()
        assert (tokens[-1] in EOS) == bool(rollouts.finished[b, 0])
        ended.add(tokens[-1] in EOS)
    assert traces == ["prefix_of", "extend"], "three prompts of one shape compile once"
    if sampling.temperature == 1:
        assert ended == {True, False}


def test_tokens_come_before_the_next_is_computed():
    decoder = Decoder(MODEL, ALLOWED, (), PAD, LENGTH, Sampling(0))
    stream = make_stream(decoder)(random_params(), select_prompts(PROMPTS, [1]), KEY)
    first = next(stream)
    assert ALLOWED[first] and len(list(stream)) == LENGTH - 1


def test_a_batch_is_refused():
    with pytest.raises(ValueError, match="one prompt, not 3"):
        next(make_stream(Decoder(MODEL, ALLOWED, EOS, PAD, LENGTH))(random_params(), PROMPTS, KEY))
