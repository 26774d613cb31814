"""Pictures exchanged between held-out questions: who gets whose, and what that does to nano's answers."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from rrft_jax.config.defaults import base_config
from rrft_jax.data.example import Example
from rrft_jax.data.index import Bucket
from rrft_jax.parallel.layout import one_row_each
from rrft_jax.pretrained import ASSETS, load_model
from rrft_jax.processing.chat import Prompt
from rrft_jax.processing.processor import load_processor
from rrft_jax.rewards import reward_set
from rrft_jax.rollout.decoder import make_decoder
from rrft_jax.rollout.sampler import sample
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.run.diagnosis import replay
from rrft_jax.tasks.visual_counting.generator import example
from rrft_jax.tasks.visual_counting.prompts import format_prompt
from rrft_jax.training.batches import in_batches
from rrft_jax.training.exchanged import Exchange, change, exchanged_batch, partners

ROWS, BUCKET = 64, Bucket(88, 1, 64)


def test_who_gets_whose_picture():
    small, wide = [(56, 56)], [(56, 84)]
    assert partners([small, wide, small, [], [], small, wide, small + wide]) == [2, 6, 5, 3, 4, 0, 1, 7]
    processor = load_processor(ASSETS / "nano")
    asked = lambda e: Prompt(e.problem)  # noqa: E731
    plain = Example("a", "vqa", "how many?", "4", ())
    assert exchanged_batch(processor, asked, lambda i: plain, [BUCKET] * 3, one_row_each(3)) is None
    shapes = (56, 56), (56, 84), (56, 56)
    pictures = [np.full((*shape, 3), 80 * k, np.uint8) for k, shape in enumerate(shapes)]
    of = lambda i: replace(plain, images=(pictures[i],))  # noqa: E731
    batch, own = exchanged_batch(processor, asked, of, [BUCKET] * 3, one_row_each(4)), in_batches(
        processor, asked, of, [BUCKET] * 3, one_row_each(4), 0)[0]  # fmt: skip
    assert batch.row_weight.tolist() == [1, 0, 1, 0]  # the last row only fills the batch
    swapped, before = batch.prompts.patches[:, 0], own.prompts.patches[:, 0]
    assert (swapped[:3] == before[[2, 1, 0]]).all() and not (swapped[0] == before[0]).all()
    assert (batch.prompts.tokens == own.prompts.tokens).all()


def test_what_counts_as_a_change():
    tokens, mask, scores = np.arange(4), np.array([1, 1, 1, 0], bool), np.array([-0.1, -0.2, -0.3, 0.0])
    assert change(tokens, mask, scores, tokens, mask, scores - [0.0, 0.5, 0.1, 9.0]) == pytest.approx(0.5)
    other = scores - [0.1, 9.0, 9.0, 9.0]
    assert change(tokens, mask, scores, tokens + [0, 1, 0, 0], mask, other) == pytest.approx(0.1)
    assert change(tokens, mask, scores, tokens + 1, mask, other) == pytest.approx(0.1)


@pytest.mark.slow
def test_nano_needs_the_pictures_of_scenes_and_pictures_all_alike_are_noticed():
    model, processor, params = load_model(base_config())
    draw = jax.jit(partial(sample, make_decoder(model, processor, 64, sampling=Sampling(0.0)), group=1))
    generate = lambda params, prompts: draw(params, prompts, key=jax.random.key(0))  # noqa: E731
    asked = lambda e: Prompt(format_prompt("ANS", e.problem))  # noqa: E731
    scenes = [example(7, i, split="val") for i in range(ROWS)]
    blank = np.full_like(np.asarray(scenes[0].images[0]), 200)

    def found(examples):
        args = processor, asked, lambda i: examples[i], [BUCKET] * ROWS, one_row_each(ROWS)
        exchange = Exchange(generate, processor, reward_set({"accuracy": 1.0}), "accuracy")
        own, other = in_batches(*args, 0)[0], exchanged_batch(*args)
        exchange.own(own, generate(params, own.prompts))
        metrics = exchange.metrics(params, other)
        assert metrics["images/exchanged"] == ROWS
        line = {"step": 0, "eval/accuracy": 0.5, "eval/questions": float(ROWS), **metrics}
        return metrics, [one.name for one in replay([line])[1]]

    metrics, names = found(scenes)
    assert metrics["images/right"] >= 10 and metrics["images/still_right"] < 0.6 * metrics["images/right"]
    assert metrics["images/log_prob_change"] > 0.01 and names == []
    metrics, names = found([replace(e, images=(blank,)) for e in scenes])
    assert metrics["images/still_right"] == metrics["images/right"] and names == ["image_unread"]
    assert draw._cache_size() == 1  # the exchanged batch is of the same shapes
