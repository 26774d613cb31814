"""Single answers: growing text, buckets of sizes, and the sampler's words."""

from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.evaluation.answer import make_answer, text_pieces
from rrft_jax.models.weights import load_params
from rrft_jax.pretrained import load_parts, resolve_init
from rrft_jax.processing.buckets import bucket_for, collate
from rrft_jax.processing.encoded import Size
from rrft_jax.processing.processor import decode, encode_completion, encode_prompt, load_processor
from rrft_jax.rollout.decoder import make_decoder
from rrft_jax.rollout.sampler import sample
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.tasks.visual_counting.generator import example

QWEN = Path(__file__).parents[1] / "fixtures" / "qwen2-tokenizer"


@pytest.fixture(scope="module")
def nano():
    directory = resolve_init("nano")
    model, processor = load_parts(directory, "float32")
    return model, processor, jax.device_put(load_params(directory, model.config))


@pytest.fixture(scope="module")
def processors(nano):
    return nano[1], load_processor(QWEN)


def test_characters_come_whole(processors):
    text = "Größe 3 → 三个球 👩🏽‍🚀 naïve\n</think>"
    for processor in processors:
        ids = encode_completion(processor, text)
        pieces = list(text_pieces(processor, [*ids, *ids]))
        assert "".join(pieces) == text and len(pieces) > 5, "nothing after the EOS"
        assert not any("\ufffd" in piece for piece in pieces)
    # In nano's bytes the letter ö is two tokens: the first alone is no text.
    first, second = encode_completion(processors[0], "ö")[:2].tolist()
    assert list(text_pieces(processors[0], [first])) == ["\ufffd"]
    assert list(text_pieces(processors[0], [first, second])) == ["ö"]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_pieces_join_to_the_decoded_text(processors, data):
    processor = data.draw(st.sampled_from(processors))
    ids = st.integers(0, processor.vocab_tokens + 3)  # special tokens, half characters, rows beyond the tokenizer
    tokens = data.draw(st.lists(ids, max_size=12))
    if data.draw(st.booleans()):
        tokens += encode_completion(processor, data.draw(st.text(max_size=8))).tolist()
    assert "".join(text_pieces(processor, tokens)) == decode(processor, tokens)


@given(st.integers(1, 20_000), st.lists(st.integers(1, 4_000).map(lambda k: 4 * k), max_size=9))
def test_rungs_hold_and_are_few(tokens, patches):
    bucket = bucket_for(Size(tokens, tuple(patches)), 2)
    assert bucket.fits(Size(tokens, tuple(patches)))
    for need, got in ((tokens, bucket.prompt_tokens), (max(patches, default=0), bucket.patches)):
        assert got <= max(64, 1.5 * need) and got % 4 == 0
    assert bucket_for(Size(bucket.prompt_tokens, (bucket.patches,) * bucket.images), 2) == bucket


def test_text_is_that_of_the_sampler_and_shapes_compile_once(nano, monkeypatch):
    model, processor, params = nano
    traces, read = [], type(model).prefix_of
    monkeypatch.setattr(type(model), "prefix_of", lambda *a: traces.append(a[2].tokens.shape) or read(*a))
    sampling, length = Sampling(1.0, top_k=50), 24
    answer = make_answer(model, params, processor, sampling, length, seed=3)
    scene = example(0, 1, "val", "in")
    questions = [scene.problem, "List the objects.", "How many cubes are there? " * 2]
    streamed = ["".join(answer(q, scene.images, number=i)) for i, q in enumerate(questions)]
    assert len(traces) == 1 and len(set(streamed)) > 1 and any(len(text) > 20 for text in streamed)

    encoded = [encode_prompt(processor, q, scene.images) for q in questions]
    bucket = bucket_for(max((one.size for one in encoded), key=lambda size: size.prompt_tokens), 2)
    run = partial(sample, make_decoder(model, processor, length, sampling=sampling), group=2)
    rollouts = jax.jit(run)(params, collate(encoded, range(3), bucket, processor.pad_token_id), jax.random.key(3))
    assert streamed == [decode(processor, row) for row in np.asarray(rollouts.tokens)[:, 0]]


def test_no_room_for_the_answer(nano):
    model, processor, params = nano
    with pytest.raises(ValueError, match="exceed the model's 4096 positions"):
        make_answer(model, params, processor, Sampling(0), 4090)("How many?")
