"""The server's programs with nano: the words of an evaluation, whoever shares the batch, and few compilations."""

import jax
import numpy as np
import pytest

from rrft_jax.evaluation.answer import make_answer
from rrft_jax.models.weights import load_params
from rrft_jax.pretrained import load_parts, resolve_init
from rrft_jax.processing.buckets import bucket_for
from rrft_jax.processing.processor import decode, encode_prompt
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.serving.prepare import Work
from rrft_jax.serving.programs import DecodePrograms
from rrft_jax.tasks.visual_counting.generator import example


@pytest.fixture(scope="module")
def nano():
    directory = resolve_init("nano")
    model, processor = load_parts(directory, "float32")
    return model, jax.device_put(load_params(directory, model.config)), processor


def work(processor, text, number, images=(), n=1, sampling=Sampling(2.0, 50), limit=16, stream=False):  # noqa: B008
    prompt = encode_prompt(processor, text, images)
    group = 1 << (n - 1).bit_length()
    return Work(prompt, bucket_for(prompt.size, 2), sampling, n, group, limit, 16, number, (), stream)


@pytest.mark.slow
def test_words_are_those_of_an_evaluation_in_any_company(nano):
    model, params, processor = nano
    programs = DecodePrograms(model, params, processor)
    scene = example(0, 1, "val", "in")
    asked = [(scene.problem, 5), ("List the objects.", 7), ("List the objects.", 8)]
    answer = make_answer(model, params, processor, Sampling(2.0, 50), 16)
    expected = ["".join(answer(text, scene.images, number=number)) for text, number in asked]
    assert len(set(expected)) == 3
    works = [work(processor, text, number, scene.images) for text, number in asked]
    together = [decode(processor, rows[0]) for rows in programs.batch(works)]
    apart = [decode(processor, programs.batch([one])[0][0]) for one in works[1:2]]
    assert together == expected and apart == expected[1:2]
    streams = [work(processor, text, number, scene.images, stream=True) for text, number in asked]
    assert [decode(processor, list(programs.stream(one))) for one in streams] == expected
    assert len(programs._kept) == 3, "one for a batch of up to four, one for a single row, one for streams"


@pytest.mark.slow
def test_several_answers_and_forgotten_programs(nano):
    model, params, processor = nano
    programs = DecodePrograms(model, params, processor, max_programs=1)
    one, three = work(processor, "List the objects.", 3), work(processor, "List the objects.", 3, n=3)
    first, rows = programs.batch([one])[0], programs.batch([three])[0]
    assert rows.shape[0] == 3 and len({decode(processor, row) for row in rows}) > 1
    np.testing.assert_array_equal(rows[:1], first)  # more answers do not change the first
    assert len(programs._kept) == 1
