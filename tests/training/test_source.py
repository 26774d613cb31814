"""Held-out batches are made when they are asked for, kept where there is room, and alike each time."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.pretrained import resolve_init
from rrft_jax.processing.processor import load_processor
from rrft_jax.tasks.registry import get_task
from rrft_jax.training import source
from rrft_jax.training.source import make_source

ROOT = Path(__file__).parents[2]


def counted_source():
    """(source of five held-out scenes in batches of two, the list of the scenes made so far)"""
    config = load_config(str(ROOT / "configs" / "grpo_counting.py"))
    config.eval.update({"examples": 5, "batch": 2})
    task, made = get_task(config.task), []

    def make(seed, number, split, domain):
        if split == "val":
            made.append((number, domain))
        return task.make(seed, number, split, domain)

    counted = dataclasses.replace(task, make=make)
    return make_source(config, counted, load_processor(resolve_init("nano"))), made


def test_held_out_scenes_are_rendered_when_they_are_asked_for_and_once():
    found, made = counted_source()
    batches = found.held_out["eval"]
    assert not made and len(batches) == 3
    last = batches[2]
    assert made == [(4, "in")]
    assert [b.row_weight.tolist() for b in batches] == [[1, 1], [1, 1], [1, 0]]
    assert made == [(4, "in"), (0, "in"), (1, "in"), (2, "in"), (3, "in")]
    assert batches[2] is last and batches[-1] is last and len(made) == 5
    one_by_one = counted_source()[0].held_out["eval"][2]
    assert np.array_equal(one_by_one.prompts.tokens, last.prompts.tokens)
    with pytest.raises(IndexError):
        batches[3]


def test_held_out_batches_beyond_the_room_are_made_anew_and_are_the_same(monkeypatch):
    one = sum(x.nbytes for x in jax.tree.leaves(counted_source()[0].held_out["eval"][0].prompts))
    monkeypatch.setattr(source, "KEPT", 2 * 2 * one + 1)  # two sets share it
    found, made = counted_source()
    batches = found.held_out["eval"]
    first = list(batches)
    assert len(made) == 5
    again = list(batches)
    assert again[0] is first[0] and again[1] is first[1], "there is room for two"
    assert made[5:] == [(4, "in")]
    assert all(map(np.array_equal, jax.tree.leaves(again[2].prompts), jax.tree.leaves(first[2].prompts)))
