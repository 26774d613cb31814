"""Greedy evaluation, with a generator whose answers are known."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from ml_collections import ConfigDict

from rrft_jax.data.example import Example
from rrft_jax.parallel.layout import one_row_each
from rrft_jax.pretrained import ASSETS
from rrft_jax.processing.processor import encode_completion, load_processor
from rrft_jax.rewards import reward_set
from rrft_jax.rewards.values import SetupError, Values, Weighted
from rrft_jax.tasks.registry import get_task
from rrft_jax.tasks.task import Prediction
from rrft_jax.training.batches import HostBatch
from rrft_jax.training.held_out import evaluate_held_out
from rrft_jax.training.loop import _as_read

LENGTH = 64
RIGHT_THOUGHT = "<think>\nfour\n</think>\n<answer>\n4\n</answer>"
WRONG_THOUGHT = "<think>\nfive\n</think>\n<answer>\n5\n</answer>"


@pytest.fixture(scope="module")
def processor():
    return load_processor(ASSETS / "nano")


def score(processor, sets, stop=lambda: False, set_metrics=lambda predictions: {}, step=0, rewards=None, **weights):
    """sets: name -> batches -> rows of (completion, answer, weight)."""

    def host_batch(rows):
        examples = tuple(
            Example(f"e{i}", "visual_counting", "How many?", answer) for i, (_, answer, _) in enumerate(rows)
        )
        weight = np.array([w for *_, w in rows], np.float32)
        texts = [text for text, *_ in rows]
        return HostBatch(examples, ("How many?",) * len(rows), texts, weight, one_row_each(len(rows)))

    def generate(params, texts):
        assert params == {"the": "parameters"}
        tokens = np.full((len(texts), 1, LENGTH), processor.pad_token_id, np.int32)
        mask = np.zeros(tokens.shape, bool)
        for row, text in enumerate(texts):
            ids = encode_completion(processor, text)
            tokens[row, 0, : len(ids)] = ids
            mask[row, 0, : len(ids)] = True
        return SimpleNamespace(tokens=tokens, mask=mask)

    rewards = rewards or reward_set(weights or {"accuracy": 1.0, "format": 1.0})
    batches = {name: tuple(host_batch(rows) for rows in batches) for name, batches in sets.items()}
    params = {"the": "parameters"}
    return evaluate_held_out(generate, params, processor, rewards, batches, "accuracy", stop, set_metrics, step=step)


def test_counts_by_hand(processor):
    batches = [
        [(RIGHT_THOUGHT, "4", 1), (WRONG_THOUGHT, "4", 1), ("4", "4", 1)],
        [("4", "4", 1), ("3", "4", 1), (RIGHT_THOUGHT, "4", 0)],  # the last row only fills the batch
    ]
    metrics = score(processor, {"eval": batches})
    assert metrics["eval/accuracy"] == pytest.approx(3 / 5)
    assert metrics["eval/format"] == pytest.approx(2 / 5)
    assert metrics["eval/reasons"] == pytest.approx(2 / 5)
    assert metrics["eval/accuracy_reasoned"] == pytest.approx(1 / 2)
    assert metrics["eval/accuracy_direct"] == pytest.approx(2 / 3)
    lengths = [len(encode_completion(processor, text)) for text in (RIGHT_THOUGHT, WRONG_THOUGHT, "4", "4", "3")]
    assert metrics["eval/mean_length"] == pytest.approx(np.mean(lengths))


def test_sets_are_told_apart_and_need_no_reward_weight(processor):
    sets = {"eval": [[("4", "4", 1)]], "eval_ood": [[(WRONG_THOUGHT, "4", 1)]]}
    metrics = score(processor, sets, format=1.0, accuracy=0.0)
    assert metrics["eval/accuracy"] == 1 and metrics["eval_ood/accuracy"] == 0
    assert math.isnan(metrics["eval/accuracy_reasoned"]) and math.isnan(metrics["eval_ood/accuracy_direct"])
    assert len(metrics) == 16


def test_it_stops_after_a_batch(processor):
    sets = {"eval": [[("4", "4", 1)]] * 2, "eval_ood": [[("4", "4", 1)]]}
    asked = []
    assert repr(score(processor, sets, lambda: asked.append(0))) == repr(score(processor, sets)) and len(asked) == 2
    assert score(processor, sets, lambda: True) is None
    answers = iter([False, True])  # between the two sets
    assert score(processor, sets, lambda: next(answers)) is None


def test_a_judge_that_dies_later_makes_answers_wrong_and_is_counted_and_one_that_never_lived_stops_the_run(processor):
    def judge(completions, examples, group_ids, step):
        if step == 0:
            raise SetupError("no judge")
        return Values([1.0, None, None], {1: "judge: HTTP 502"})

    known = reward_set({"accuracy": 1.0, "format": 1.0})
    rewards = replace(known, rewards=(Weighted("accuracy", judge), *known.only("format").rewards))
    sets = {"eval": [[(RIGHT_THOUGHT, "4", 1)] * 3]}
    metrics = score(processor, sets, rewards=rewards, step=7)
    assert metrics["eval/accuracy"] == pytest.approx(1 / 3)
    assert (metrics["eval/unscored"], metrics["eval/questions"]) == (2, 3)
    assert "eval/unscored" not in score(processor, sets, step=7)
    with pytest.raises(SetupError, match="no judge"):
        score(processor, sets, rewards=rewards)


def test_nothing_held_out_gives_nothing(processor):
    assert score(processor, {}) == {}


def test_the_task_takes_its_metric_of_each_held_out_set(processor):
    shares = lambda predictions: {"fours": float(np.mean([texts == ("4",) for _, texts in predictions]))}  # noqa: E731
    rows = [("4", "4", 1), ("3", "4", 1), (RIGHT_THOUGHT, "4", 0)]
    metrics = score(processor, {"eval": [rows, [("4", "4", 1)]], "eval_ood": [rows]}, set_metrics=shares)
    assert metrics["eval/fours"] == pytest.approx(2 / 3) and metrics["eval_ood/fours"] == pytest.approx(1 / 2)


def test_a_task_from_outside_that_cannot_rewrite_its_places_is_measured_all_the_same():
    """Its metric may be one of ours with an option of its own: the run must not end at the first evaluation."""
    config = ConfigDict({"reward_options": {"in_box": {"coordinates": "resized"}}})
    example = Example("e", "mine", "Where?", "[1, 2]", metadata={"size": [56, 56]})
    own = replace(get_task("ui_grounding"), name="mine", rewrite=None)
    run = SimpleNamespace(config=config, task=own, processor=load_processor(ASSETS / "nano"))
    assert _as_read(run, [Prediction(example, ["[28, 28]"])]) == [Prediction(example, ["[28, 28]"])]
    run.task = get_task("ui_grounding")
    assert _as_read(run, [Prediction(example, ["[28, 28]"])])[0].texts != ["[28, 28]"]
