"""Answers in \\boxed{}: the original's numbers, the spec's table, and readings of our own."""

import json

import pytest

from rrft_jax.answers import boxed
from rrft_jax.rewards import registry
from tests.golden import golden_path
from tests.rewards.helpers import example, score
from tests.timing import within

PAPER = [registry.get("boxed_accuracy_paper"), registry.get("boxed_format_paper")]


def overall(prediction, gold, rewards=PAPER):
    accuracy, format = (score(reward, prediction, gold)[0] for reward in rewards)
    return 0.9 * accuracy + 0.1 * format


def test_golden():
    cases = json.loads(golden_path("rewards/rif_rft.json").read_text())
    assert len(cases) == 14
    for case in cases:
        pred, gold = case["pred"], case["sol"]
        if case["fn"] == "cpt.math":
            assert score(PAPER[0], pred, gold) == [case["accuracy"]], case
            assert score(PAPER[1], pred, gold) == [case["format"]], case
            assert overall(pred, gold) == pytest.approx(case["overall"]), case
        elif case["fn"] == "cpt.no_cot":
            assert score(PAPER[0], pred, gold, whole_text=True) == [case["accuracy"]], case
        else:  # r1v: half the published Reason-RFT rewards each
            parts = [score(registry.get(name), pred, gold)[0] for name in ("accuracy_paper", "format_paper")]
            assert parts == [case["accuracy"], case["format"]] and sum(parts) / 2 == case["overall"], case


@pytest.mark.parametrize(
    ("prediction", "gold", "wanted"),
    [
        ("<think>a</think>\\boxed{A. yes}", "A", 0.1),
        ("<think>a</think>\\boxed{\\frac{1}{2}}", "0.5", 1.0),
        ("<think>a</think>\\boxed{8/2}", "4", 0.1),
        ("<think>a</think>\\boxed{1,234}", "1234", 1.0),
        ("<think>a</think>\\boxed{four cubes}", "4", 0.1),
        ("<think>a</think>\\boxed{4", "4", 0.0),
    ],
)
def test_the_published_grading(prediction, gold, wanted):
    assert overall(prediction, gold) == pytest.approx(wanted)
    if prediction.endswith("\\frac{1}{2}}"):
        assert boxed.filter_box(prediction) == "\\frac{1"  # the original's filter disagrees with its reward


def test_prose_is_no_answer_without_chain_of_thought():
    assert score(PAPER[0], ["The answer is 4", "4", "4.0"], "4", whole_text=True) == [0.0, 1.0, 1.0]


def test_our_own_reading():
    texts = [
        "<think>a</think>\\boxed{\\frac{1}{2}}", "<think>a</think> so \\boxed{3} no, \\boxed{0.5}.",
        "<think>\\boxed{0.5}</think> it is", "<think>\\boxed{0.5}", "\\boxed{0.5}", "<think>a</think>\\boxed{ }",
        "<think>a</think>\\boxed{0.5", "<think></think>\\boxed{0.5}", "<think>a</think>0.5",
    ]  # fmt: skip
    assert score(registry.get("boxed_accuracy"), texts, "0.5") == [1, 1, 0, 0, 1, 0, 0, 1, 0]
    assert score(registry.get("boxed_format"), texts, "0.5") == [1, 1, 0, 0, 0, 0, 0, 0, 0]


def test_long_texts_take_no_time():
    for piece in (" <", "</think>", "\\boxed{", "<think>", " ", "{"):
        text = "<think>" + piece * 30_000
        for name in ("boxed_accuracy", "boxed_accuracy_paper", "boxed_format", "boxed_format_paper"):
            assert len(within(1.0, registry.get(name), [text], [example("4")], [0], 0)) == 1
