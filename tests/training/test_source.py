"""Held-out batches are made when they are asked for, once, and what they hold does not depend on that."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from rrft_jax.processing.processor import load_processor
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.overrides import load_config
from rrft_jax.training.source import make_source
from rrft_jax.training.start import resolve_init

ROOT = Path(__file__).parents[2]


def test_held_out_scenes_are_rendered_when_they_are_asked_for_and_once():
    config = load_config(str(ROOT / "configs" / "grpo_counting.py"))
    config.eval.update({"examples": 5, "batch": 2})
    task, made = get_task(config.task), []

    def make(seed, number, split, domain):
        if split == "val":
            made.append((number, domain))
        return task.make(seed, number, split, domain)

    counted = dataclasses.replace(task, make=make)
    batches = make_source(config, counted, load_processor(resolve_init("nano"))).held_out["eval"]
    assert not made and len(batches) == 3
    last = batches[2]
    assert made == [(4, "in")]
    assert [b.row_weight.tolist() for b in batches] == [[1, 1], [1, 1], [1, 0]]
    assert made == [(4, "in"), (0, "in"), (1, "in"), (2, "in"), (3, "in")]
    assert batches[2] is last and batches[-1] is last and len(made) == 5
    one_by_one = make_source(config, task, load_processor(resolve_init("nano"))).held_out["eval"][2]
    assert np.array_equal(one_by_one.prompts.tokens, last.prompts.tokens)
    with pytest.raises(IndexError):
        batches[3]
