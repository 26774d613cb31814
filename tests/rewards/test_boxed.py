"""Answers in \\boxed{}: the original's numbers, the spec's table, and readings of our own."""

import json

import pytest

from rrft_jax.answers import boxed
from rrft_jax.config.command_line import load_config
from rrft_jax.rewards import registry
from rrft_jax.rewards.symbolic import Check
from rrft_jax.rewards.values import Outcome
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.validate import check_config
from tests.golden import golden_path
from tests.rewards.helpers import example, score
from tests.test_configs import ROOT
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
        else:  # r1v: half each
            parts = [score(registry.get(name), pred, gold)[0] for name in ("answer_line_paper", "format_paper")]
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


def test_the_published_filter_wants_a_box_right_behind_a_thought():
    texts = [f"{start}\\boxed{{4}}" for start in ("<think>a</think>\n", "<think>a</think> so ", "")]
    assert score(registry.get("boxed_filter_paper"), [*texts, "<think>a</think>\\boxed{5}"], "4") == [1, 0, 0, 0]


def test_an_answer_over_several_lines_is_not_found_by_the_published_variant():
    texts = ["<think>a</think>\n<answer>\n4\n</answer>", "<answer>\n<answer>4</answer>", "4", "it is 4"]
    assert score(registry.get("answer_line_paper"), texts, "4") == [0, 1, 1, 0]
    assert score(registry.get("format_paper"), texts[0], "4") == [1]  # so this one gets a half, as in the specification


@pytest.mark.parametrize(
    ("arg", "prompt", "weights"),
    [
        ("", "BOXED_COT", {"boxed_accuracy": 0.9, "boxed_format": 0.1}),
        (",paper", "BOXED_COT", {"boxed_accuracy_paper": 0.9, "boxed_format_paper": 0.1}),
        (",direct", "BOXED_ANS", {"accuracy": 1.0}),
        (",direct,paper", "BOXED_ANS", {"boxed_accuracy_paper": 1.0}),
    ],
)
def test_the_recipe_with_the_papers_prompts(arg, prompt, weights):
    config = load_config(f"{ROOT}/configs/continual.py:vqa,boxed,data=FOLDER{arg}")
    check_config(config)
    assert config.prompt == prompt and {name: w for name, w in config.rewards.items() if w} == weights
    assert config.reward_options.boxed_accuracy_paper.whole_text == (arg == ",direct,paper")
    asked = get_task("vqa").prompt_fn(prompt, real=True)(example("4"))
    behind = "You FIRST think about the reasoning process as an internal monologue and then provide the final answer."
    end = "You MUST provide the final answer directly." if "direct" in arg else "answer MUST BE put in \\boxed{}."
    assert (behind in asked) == ("direct" not in arg) and asked.endswith(end)


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


def test_two_formulas_are_checked_as_a_whole_gold_first():
    seen = []
    verify = lambda checks: seen.extend(checks) or [Outcome(True)]  # noqa: E731
    assert score(registry.get("boxed_accuracy"), "\\boxed{(1,2)}", "1<x<2", verify=verify) == [1]
    assert seen == [Check("1<x<2", "(1,2)", whole=True)]


def test_long_texts_take_no_time():
    for piece in (" <", "</think>", "\\boxed{", "<think>", " ", "{"):
        text = "<think>" + piece * 30_000
        for name in ("boxed_accuracy", "boxed_accuracy_paper", "boxed_format", "boxed_format_paper"):
            assert len(within(1.0, registry.get(name), [text], [example("4")], [0], 0)) == 1
