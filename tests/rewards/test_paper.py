"""The published rewards, compared with what the original code gave."""

import itertools
import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.answers.functions import read_paper
from rrft_jax.rewards import (
    accuracy,
    caption_format,
    format,
    functions,
    length,
    math_accuracy,
    reasoning_steps,
    reward_set,
)
from tests.golden import FIXTURE, golden_path
from tests.rewards.helpers import example, score, tagged

PAPER = {
    "accuracy_reward": accuracy.paper,
    "math_accuracy_reward": math_accuracy.paper,
    "format_reward": format.paper,
    "reasoning_steps_reward": reasoning_steps.paper,
    "len_reward": length.paper,
    "func_accuracy_reward": functions.paper,
    "only_full_func_accuracy_reward": functions.full_paper,
    "penalty_func_accuracy_reward": functions.penalty_paper,
    "caption_format_reward": caption_format.paper,
}


GOLDEN = "rewards/reason_rft.json"


def of_golden(kind):
    cases = json.loads(golden_path(GOLDEN).read_text()).get(kind, [])
    unknown = {case["fn"] for case in cases} - set(PAPER)
    assert not unknown, f"golden cases for rewards that nobody knows: {unknown}"
    return cases


def test_golden_cases():
    wrong = []
    for case in of_golden("cases"):
        solution = "no reference" if case["sol"] is None else case["sol"]
        values = PAPER[case["fn"]]([case["pred"]], [example(solution)], [0], case.get("current_step", 0))
        assert not values.errors
        expected = case["reward"]
        if not (math.isnan(values[0]) if math.isnan(expected) else values[0] == pytest.approx(expected, abs=1e-12)):
            wrong.append((case, values[0]))
    assert not wrong


def test_the_fixture_has_cases_of_every_published_reward():
    cases = json.loads((FIXTURE / GOLDEN).read_text())
    assert {case["fn"] for kind in ("cases", "groups") for case in cases[kind]} == set(PAPER)
    assert (len(cases["cases"]), len(cases["groups"])) == (79, 3)


def test_golden_groups():
    for case in of_golden("groups"):
        examples = [example(solution) for solution in case["sols"]]
        values = PAPER[case["fn"]](case["preds"], examples, [0] * len(examples), case["current_step"])
        assert values == pytest.approx(case["rewards"], abs=1e-12)


S2 = "change_size(7, large), change_color(2, red)"
S3 = f"{S2}, change_position(0, front_left)"
ONE_NEAR, ONE_FAR = "change_size(7, small), change_color(2, red)", "change_size(3, small), change_color(2, red)"
REPEATED = "change_size(7, large), change_size(7, large), change_color(2, red)"
ALL_OFF = "change_size(7, small), change_color(5, red), change_position(1, behind)"
THREE = (functions.paper, functions.full_paper, functions.penalty_paper)

# The worked examples of the reward functions: number in the table, reward, prediction, solution, value.
WORKED = [
    (1, accuracy.paper, "<think>5-1=4</think>\n<answer> 4 </answer>", "4", 1),
    (2, accuracy.paper, "<think>5-1=4</think>\n<answer>4.0</answer>", "4", 0),
    (3, accuracy.paper, "The final answer is 4", "4", 1),
    (4, accuracy.paper, "There are 4 apples and 3 pears", "4", 0),
    (4, accuracy.paper, "There are 3 pears and 4 apples", "4", 1),
    (5, accuracy.paper, "<think>x</think><answer>3</answer> <answer>4</answer>", "4", 0),
    (6, accuracy.paper, tagged("(B)"), "B", 0),
    (6, accuracy.paper, tagged("b"), "B", 0),
    (6, accuracy.paper, tagged("B. 2"), "B", 0),
    (7, accuracy.paper, "$\\frac{1}{2}$", "0.5", 1),
    (7, accuracy.paper, tagged("\\frac{1}{2}"), "0.5", 0),
    (8, math_accuracy.paper, tagged("10.4"), "10", 1),
    (8, math_accuracy.paper, tagged("10.5"), "10", 1),
    (8, math_accuracy.paper, tagged("11"), "10", 0.75),
    (8, math_accuracy.paper, tagged("11.25"), "10", 0.5),
    (8, math_accuracy.paper, tagged("12"), "10", 0),
    (8, math_accuracy.paper, tagged("B"), "B", 1),
    (8, math_accuracy.paper, tagged("B"), "C", 0),
    (8, math_accuracy.paper, tagged("\\frac{1}{2}"), "0.5", 0),
    (8, math_accuracy.paper, "The final answer is 10", "10", 1),
    (9, math_accuracy.paper, tagged("0"), "0", 0),
    (10, functions.paper, tagged("change_color(2, 'red'), change_size(7,'large')"), S2, 1),
    *((11, reward, tagged(ONE_NEAR), S2, value) for reward, value in zip(THREE, (0.75, 0.5, 0.375), strict=True)),
    *((12, reward, tagged(ONE_FAR), S2, value) for reward, value in zip(THREE, (0.625, 0.5, 0.25), strict=True)),
    *((13, reward, tagged(REPEATED), S2, 2 / 3) for reward in THREE),
    *((14, reward, tagged(ALL_OFF), S3, value) for reward, value in zip(THREE, (5 / 12, 0, -1 / 3), strict=True)),
    (15, functions.paper, tagged('change_size(7, "large"), change_color(2, red)'), S2, 0.5),
    (16, functions.paper, "<think>first change_size(7, large)</think> change_color(2, red)", S2, 1),
    (17, format.paper, "<think>a</think>\n\n <answer>b</answer>", "4", 1),
    (17, format.paper, "<think>a</think>\n\n <answer>b</answer>\n", "4", 0),
    (17, format.paper, "<think>a</think> so <answer>b</answer>", "4", 0),
    (17, format.paper, "<think></think><answer></answer>", "4", 1),
    (18, reasoning_steps.paper, "Step 1: a Step 2: b", "4", 2 / 3),
    (18, reasoning_steps.paper, "1. a\n2. b\n3. c", "4", 1 / 3),
    (18, reasoning_steps.paper, "\n- a\n- b\n- c", "4", 1),
    (18, reasoning_steps.paper, "\n- a\n- b\n- c\n- d", "4", 1),
]


@pytest.mark.parametrize("row, reward, prediction, solution, value", WORKED)
def test_worked_examples(row, reward, prediction, solution, value):
    assert score(reward, prediction, solution) == pytest.approx([value], abs=1e-12)


def test_worked_length_group():
    texts = ["<think>" + "a" * n + "</think><answer>" + a + "</answer>" for n, a in
             [(1, "4"), (10, "4"), (20, "4"), (20, "5"), (1, "5")]]  # fmt: skip
    expected = [0.025, 0.05 * (0.5 - 9 / 19), -0.025, -0.025, 0.0]
    assert score(length.paper, texts, step=1000) == pytest.approx(expected, abs=1e-12)
    assert score(length.paper, texts, step=799) == [0.0] * 5


TAGGED = st.lists(
    st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "<summary>", "</summary>", "<caption>",
                     "</caption>", "a", " ", "\n"]), max_size=16,
).map("".join)  # fmt: skip


def original(text, sections):
    """The pattern as published, in whatever time it takes."""
    return re.fullmatch(r"\s*".join(rf"<{name}>(.*?)</{name}>" for name in sections), text, re.DOTALL)


@settings(max_examples=1000, deadline=None)
@given(TAGGED, st.booleans())
def test_full_matches_are_those_of_the_published_patterns(text, complete):
    for sections in (format.THOUGHT_THEN_ANSWER, caption_format.SECTIONS):
        if complete:  # what random tags rarely are
            text = f"<{sections[0]}>{text}" + "".join(f"</{a}> <{b}>" for a, b in itertools.pairwise(sections))
            text += f"{text[:9]}</{sections[-1]}>"
        found, bodies = original(text, sections), format.match_sections(text, sections)
        assert bodies == (None if found is None else list(found.groups()))


@settings(max_examples=500, deadline=None)
@given(st.text("ab_1(), '\n-", max_size=24), st.sampled_from(["a(b, c)", "ab(1,'c')", "a( b, c)", ""]))
def test_functions_found_are_those_of_the_published_pattern(text, known):
    text = text[:12] + known + text[12:]
    assert read_paper(text) == re.findall(r"(\w+)\((\w+),\s*'?(\w+)'?\)", text)


# The quirks that stay, numbered as in the table of deviations.


def test_20_length_is_of_characters_within_a_group_and_late():
    short, long = (tagged("4", thought="x" * n) for n in (1, 11))
    group, other = [short, long], [tagged("4", thought="y" * n) for n in (100, 300)]
    assert score(length.paper, group, step=800) == pytest.approx([0.025, -0.025])
    assert score(length.paper, group, step=799) == [0.0, 0.0]
    # Whatever else is scored in the same call: the original's calls held one group each.
    assert score(length.paper, group + other, step=800, group_ids=[5, 5, 6, 6]) == pytest.approx([0.025, -0.025] * 2)


@pytest.mark.parametrize(
    ("text", "value"),
    [(tagged("4.0"), 0.025), ("The final answer is 4", 0.025), (tagged("\\frac{8}{2}"), 0), ("it is 5", 0)],
)
def test_what_is_right_for_length(text, value):
    """The shorter one of a pair: by value inside tags, by math-verify without tags."""
    assert score(length.paper, [text, tagged("4", thought="x" * 99)], step=800) == pytest.approx([value, -0.025])


def test_11_tagged_answers_are_strings_and_others_are_numbers():
    assert score(accuracy.paper, [tagged("4.0"), "the answer is 4.0"]) == [0.0, 1.0]


def test_12_choices_in_other_words_are_wrong_with_and_without_tags():
    assert score(accuracy.paper, [tagged("(B)"), "(B)", tagged("B")], "B") == [0.0, 0.0, 1.0]


def test_10_zero_earns_nothing_and_nan_is_kept_from_the_group_of_a_set():
    assert score(math_accuracy.paper, tagged("0"), "0") == [0.0]
    assert math.isnan(score(math_accuracy.paper, tagged("nan"))[0])
    scored = reward_set({"math_accuracy_paper": 1.0}).score([tagged("nan"), tagged("4")], [example()] * 2, [0, 0], 0)
    assert scored.unscored == (0,) and scored.total[1] == 1.0


def test_14_repeats_cost_their_share_in_training():
    three = ", ".join(["change_size(7, large)"] * 3)
    assert score(functions.paper, tagged(three), "change_size(7, large)") == pytest.approx([1 / 3])


def test_18_the_first_answer_wins():
    draft = "<think>maybe <answer>3</answer></think><answer>4</answer>"
    assert score(accuracy.paper, draft) == [0.0]
    draft = f"<think>maybe <answer>{ONE_FAR}</answer></think><answer>{S2}</answer>"
    assert score(functions.paper, draft, S2) == [0.625]


def test_19_format_is_a_full_match_of_the_bare_pattern():
    for text in ("<think></think><answer></answer>", "<think>a</think><answer>1</answer><answer>2</answer>"):
        assert score(format.paper, [text, f"{text}\n", f" {text}"]) == [1.0, 0.0, 0.0]
    sections = "<summary></summary><caption></caption><think></think>\n<answer></answer>"
    assert score(caption_format.paper, [sections, f"{sections}\n"]) == [1.0, 0.0]


def test_21_numbered_lines_count_at_the_very_start_alone():
    assert score(reasoning_steps.paper, ["1. a\n2. b\n3. c", "\n1. a\n2. b"]) == pytest.approx([1 / 3, 0.0])


def test_15_17_function_matching_is_greedy_in_order_and_no_functions_are_as_good_as_wrong_ones():
    # 15: the original gave this or 0.5, by its hash seed
    pair = tagged("change_size(1, large), change_size(1, small)")
    assert score(functions.paper, pair, "change_size(1, medium), change_size(2, large)") == [0.375]
    for hidden in ("change_size( 7, large)", "change_size(7, large )", "change_size(7, front-left)"):
        assert score(functions.paper, tagged(hidden), hidden) == [0.0]
    assert score(functions.paper, tagged(S2), "no function") == [0.0]  # 17: as if it were wrong
