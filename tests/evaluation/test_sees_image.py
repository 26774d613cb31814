"""The bundled nano model answers from the picture: other pictures, other answers."""

from functools import partial

import jax
import numpy as np
import pytest

from rrft_jax.config.defaults import base_config
from rrft_jax.data.index import Bucket
from rrft_jax.pretrained import load_model
from rrft_jax.processing.buckets import collate
from rrft_jax.processing.encoded import with_start
from rrft_jax.processing.processor import decode, encode_completion, encode_prompt
from rrft_jax.rewards.accuracy import accuracy
from rrft_jax.rollout.decoder import make_decoder
from rrft_jax.rollout.sampler import sample
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.tasks.visual_counting.generator import example
from rrft_jax.tasks.visual_counting.prompts import format_prompt
from tests.helpers.counting_pairs import flip_pair

ROWS = 64
THOUGHT = "<think>\n"


@pytest.fixture(scope="module")
def answers():
    """(problems, pictures) -> texts: greedy, reasoning forced by the beginning of a thought."""
    model, processor, params = load_model(base_config())
    generate = jax.jit(partial(sample, make_decoder(model, processor, 96, sampling=Sampling(0.0)), group=1))
    start = encode_completion(processor, THOUGHT)[:-1]

    def run(problems, pictures):
        texts = []
        for low in range(0, len(problems), ROWS):
            rows = slice(low, low + ROWS)
            encoded = [
                with_start(encode_prompt(processor, format_prompt("COUNT_COT", q), [image]), start)
                for q, image in zip(problems[rows], pictures[rows], strict=True)
            ]
            prompts = collate(encoded, np.arange(len(encoded)), Bucket(88, 1, 64), processor.pad_token_id)
            tokens = np.asarray(generate(params, prompts, key=jax.random.key(0)).tokens)[:, 0]
            texts += [THOUGHT + decode(processor, ids) for ids in tokens]
        return texts

    return run


def right(texts, examples):
    return np.array(accuracy(texts, examples, list(range(len(texts))), 0)) > 0.5


def test_one_changed_object_flips_the_answer(answers):
    pairs = [flip_pair(7, i) for i in range(ROWS)]
    examples = [e for pair in pairs for e in pair]
    hits = right(answers([e.problem for e in examples], [e.images[0] for e in examples]), examples).reshape(-1, 2)
    # Answering without the picture gives both scenes of a pair the same answer, so never both right.
    assert hits.all(axis=1).mean() > 0.2  # 19 of the 64 pairs


def test_with_other_pictures_accuracy_falls_to_a_constant_answer(answers):
    examples = [example(7, i, split="val") for i in range(4 * ROWS)]
    problems, pictures = [e.problem for e in examples], [e.images[0] for e in examples]
    counts = np.unique([e.answer for e in examples], return_counts=True)[1]
    constant = counts.max() / len(examples)
    own = right(answers(problems, pictures), examples).mean()
    other = right(answers(problems, pictures[1:] + pictures[:1]), examples).mean()
    assert own > constant + 0.2
    assert other <= constant + 0.05
