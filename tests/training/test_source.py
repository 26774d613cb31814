"""Held-out batches are made when they are asked for, kept where there is room, and alike each time."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.data.instances import Counts
from rrft_jax.pretrained import resolve_init
from rrft_jax.processing.processor import load_processor
from rrft_jax.tasks.registry import get_task
from rrft_jax.training import source
from rrft_jax.training.source import make_source
from tests.data.sources.real import PICTURES

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


def test_records_without_a_right_rollout_are_left_out_and_prompts_are_picked_from_several_batches(tmp_path):
    rows = [
        {"id": f"r{i}", "image": str(PICTURES["clevr/img1.png"]), "problem": f"How many, {i}?", "answer": "5"}
        for i in range(12)
    ]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    counted = [{"id": f"r{i}", "correct_count": i % 3, "total_count": 2} for i in range(12)]
    (tmp_path / "rollouts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in counted))
    config = load_config(f"{ROOT}/configs/grpo_counting.py:data={tmp_path / 'mine'}")
    config.data.update({"held_out": 0.0, "filter": str(tmp_path / "rollouts.jsonl")})
    config.train.prompts = 2
    task, processor = get_task("visual_counting"), load_processor(resolve_init("nano"), max_pixels=28 * 28 * 4)
    ids = lambda batch: [e.id for e in batch.examples]  # noqa: E731
    for always, left in ((False, {1, 2}), (True, {1})):
        config.data.filter_always_right = always
        found = make_source(config, task, processor)
        used = {name for t in range(len(left) * 2) for name in ids(found.fetch(t))}
        assert used == {f"r{i}" for i in range(12) if i % 3 in left} and found.records == len(used)
        assert {s["record"] for s in found.skipped} == {f"r{i}" for i in range(12)} - used
    assert "0 of 2 rollouts were right" in str(found.skipped) and "2 of 2" in str(found.skipped)
    assert "the filter keeps 4 of the 12 examples to train on" in found.report
    assert [e.id for e in found.examples()] == [f"r{i}" for i in range(1, 12, 3)]
    picked = found.pick([3, 0])  # the second prompt of batch 1, the first of batch 0
    assert ids(picked) == [ids(found.fetch(1))[1], ids(found.fetch(0))[0]]
    alone = [found.fetch(1).prompts.prompt_id[1], found.fetch(0).prompts.prompt_id[0]]
    np.testing.assert_array_equal(picked.prompts.prompt_id, alone)


def test_the_filter_takes_generated_examples_and_says_what_to_do_where_it_keeps_none():
    config = load_config(f"{ROOT}/configs/grpo_counting.py")
    config.data.range, config.train.prompts = (2, 8), 2
    task, processor = get_task(config.task), load_processor(resolve_init("nano"))
    everything = make_source(config, task, processor)
    names = [e.id for e in everything.examples()]
    assert len(names) == everything.records == 6
    counts = {name: Counts(place % 3, 2) for place, name in enumerate(names)}
    found = make_source(config, task, processor, counts=counts)
    kept = [names[place] for place in (1, 2, 4, 5)]
    assert [e.id for e in found.examples()] == kept and found.records == 4
    assert [e.id for t in range(3) for e in found.fetch(t).examples] == [*kept, *kept[:2]]
    assert [e.id for e in found.pick([5, 0]).examples] == [kept[1], kept[0]]
    assert [s["record"] for s in found.skipped] == [names[0], names[3]]
    config.data.filter_rollouts = 2
    for answered, remedy in ((0, "rollouts were right; start from a policy"), (2, "filter_always_right=False")):
        config.data.filter_always_right = answered == 2
        with pytest.raises(ValueError, match=f"filter_rollouts=2 keeps none of the 6 examples .*: 4 .*{remedy}"):
            make_source(config, task, processor, counts=dict.fromkeys(names[2:], Counts(answered, 2)))
