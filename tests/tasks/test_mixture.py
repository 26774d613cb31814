"""Several tasks as one: each example is asked, rewarded and counted as in its own task."""

import json
from dataclasses import replace

import numpy as np
import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.data.example import Example
from rrft_jax.doors import DoorError
from rrft_jax.evaluation.asking import make_prompt_fn
from rrft_jax.tasks.mixture import mixture
from rrft_jax.tasks.records import taken
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.rewarding import make_rewards
from tests.test_configs import ROOT

NAME = "counting+structure+spatial"
WRONG = "<think>x</think><answer>change_size(9, large), 77</answer>"


def test_examples_of_a_mixture_are_those_of_its_tasks_in_turn():
    mixed, own = get_task(NAME), [get_task(name) for name in NAME.split("+")]
    examples = [mixed.make(3, i, "train", "in") for i in range(6)]
    alone = [task.make(3, k, "train", "in") for k in (0, 1) for task in own]
    assert [e.id for e in examples] == [e.id for e in alone]
    for prompt in ("zero_shot", "ans", "cot"):
        asked = [task.prompt_fn(prompt)(e) for task, e in zip([*own, *own], alone, strict=True)]
        assert list(map(mixed.prompt_fn(prompt), examples)) == asked
    assert [mixed.targets["cot"](e) for e in examples] == [
        t.targets["cot"](e) for t, e in zip([*own, *own], alone, strict=True)
    ]
    config = load_config(f"{ROOT}/configs/continual.py:task={NAME}")
    assert config.task == NAME and config.buckets.images == (2,)
    rewards = make_rewards(config, mixed, tokenizer=list)
    texts = [mixed.targets["cot"](e) for e in examples[:3]] + [WRONG] * 3
    scored = rewards.score(texts, examples, list(range(6)), 0)
    values = dict(zip(scored.names, scored.values.tolist(), strict=True))
    assert values["right"] == [1, 1, 1, 0, 0, 0] and scored.total.tolist()[:3] == [2, 2, 2] and not scored.failures
    applies = {name: (~np.isnan(row)).tolist() for name, row in values.items()}
    assert applies["accuracy"] == [True, True, False] * 2 and applies["functions_full"] == [False, False, True] * 2
    for k, task in enumerate(own):  # a completion's total is the one of its own task
        alone_set = make_rewards(load_config(f"{ROOT}/configs/continual.py:task={task.name}"), task, tokenizer=list)
        at = [k, k + 3]
        found = alone_set.score([texts[i] for i in at], [examples[i] for i in at], [0, 1], 0)
        assert found.total.tolist() == scored.total[at].tolist()


def test_records_of_a_mixture_name_their_task():
    said = ("counting", "vqa", None)
    rows = [Example(str(i), NAME, "?", "4", metadata={"task": name}) for i, name in enumerate(said)]
    found, refused = taken(get_task("counting+structure"), rows)
    assert found[0].task == "visual_counting" and set(refused) == {"1", "2"}
    assert refused["1"] == (
        "its field task is 'vqa', and a record of a mixture names one of visual_counting, structure_perception"
    )


def test_mixtures_that_make_no_sense_are_refused():
    with pytest.raises(DoorError, match="config.task=counting[+]counting: a mixture has two tasks or more"):
        get_task("counting+counting")
    with pytest.raises(DoorError, match="config.task='countng' is no task; did you mean"):
        get_task("countng+structure")
    other = replace(get_task("counting"), name="other", rewards={"accuracy": 2.0})
    with pytest.raises(ValueError, match="other gives reward accuracy the weight 2, and another part 1"):
        mixture([get_task("counting"), other])


def test_a_bare_question_to_what_a_mixture_trained_needs_a_template(tmp_path):
    (tmp_path / "versions.json").write_text("{}")
    config = {"task": "counting+structure", "prompt": "cot", "data": {"folder": ""}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="structure_perception, which ask differently: give --template"):
        make_prompt_fn(str(tmp_path), None)
    assert "How many?" in make_prompt_fn(str(tmp_path), "COUNT_COT")("How many?")
