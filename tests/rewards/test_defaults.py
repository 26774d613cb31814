"""Where the defaults depart from the published rewards; numbered as in the table of deviations."""

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.answers.conclusion import MAX_CHARS
from rrft_jax.rewards import accuracy, format, length, math_accuracy, reasoning_steps, reward_set, soft_overlong
from rrft_jax.rewards.symbolic import Check, settle, verify_here
from tests.rewards.helpers import char_lengths, example, score, tagged


def right(text, answer="4"):
    return score(accuracy.accuracy, text, answer)[0]


def test_10_zero_and_nan_in_tolerant_accuracy():
    def give(text, gold):
        return score(math_accuracy.math_accuracy, tagged(text), gold)

    assert give("0", "0") == [1.0]
    assert give("0.1", "0") == [0.0]
    assert give("nan", "10") == [0.0]
    assert give("inf", "10") == [0.0]
    assert give("-10", "10") == [0.0]


@pytest.mark.parametrize(
    "text, value", [("10.4", 1), ("10.5", 1), ("11", 0.75), ("11.25", 0.5), ("12", 0), ("9", 0.75)]
)
def test_tolerance_is_the_published_one(text, value):
    assert score(math_accuracy.math_accuracy, [tagged(text), text, f"{text} cm"], "10") == pytest.approx([value] * 3)


def test_tolerant_accuracy_still_matches_letters_and_algebra():
    texts = [tagged("(B)"), tagged("A")]
    assert score(math_accuracy.math_accuracy, texts, "B") == [1.0, 0.0]
    assert score(math_accuracy.math_accuracy, tagged("\\frac{1}{2}"), "0.5") == [1.0]
    assert score(math_accuracy.math_accuracy, ["<think>4", tagged("4")], ["4", "B"]) == [0.0, 0.0]


def test_11_tagged_numbers_are_compared_by_value():
    assert right(tagged("5.0"), "5") == 1.0
    assert right(tagged("04")) == 1.0
    assert right(tagged("5.1"), "5") == 0.0


def test_12_units_letters_and_algebra_inside_tags():
    assert right(tagged("5 objects"), "5") == 1.0
    for text in ("(B)", "b", "B. 2", "B"):
        assert right(tagged(text), "B") == 1.0
        assert right(tagged(text), "C") == 0.0
    assert right(tagged("\\frac{1}{2}"), "0.5") == 1.0
    assert right(tagged("2\\sqrt{3}"), "\\sqrt{12}") == 1.0
    assert right(tagged("3\\sqrt{3}"), "\\sqrt{12}") == 0.0
    assert right(tagged("5 - 1 = 4")) == 1.0
    assert right(tagged("5 - 2 = 3")) == 0.0


def test_12_the_reference_is_the_first_argument_of_the_symbolic_check():
    gold, answer = "$1<x<2$", "$(1,2)$"
    seen = []

    def verify(checks):
        seen.extend(checks)
        return []

    with pytest.raises(ValueError):
        score(accuracy.accuracy, tagged(answer), gold, verify=verify)
    with pytest.raises(ValueError):
        score(accuracy.paper, answer, gold, verify=verify)
    assert seen == [Check(gold="1<x<2", target="(1,2)", whole=True), Check(gold=answer, target=gold)]


def test_12_a_whole_check_needs_every_sign_of_both_formulas():
    def equal(gold, target):
        (outcome,) = verify_here([Check(gold, target, whole=True)])
        return outcome.value

    assert equal("1<x<2", "(1,2)") and equal("x+1", "\\frac{x^{2}-1}{x-1}") and equal("6", "\\binom{4}{2}")
    assert equal("\\sqrt{x^2}", "|x|") and not equal("\\sqrt{x^2}", "x")  # letters are real numbers
    # math-verify alone finds a 4 in each of these.
    for text in ("4 apples", "4)", "4~5", "4\\text{ or }5", "$4$ or 5", "\\frac{4}{1} junk}", "\\foo{4}", ""):
        assert not equal("4", text)


def test_16_errors_are_typed_named_and_stay_in_their_row():
    examples = [example("4"), example(4, id="bad"), example("", id="empty"), example("4")]
    for reward in (accuracy.accuracy, accuracy.paper, math_accuracy.math_accuracy, math_accuracy.paper):
        values = reward([tagged("4")] * 4, examples, [0] * 4, 0)
        assert values == [1.0, None, None, 1.0]
        assert set(values.errors) == {1, 2}
        assert "TypeError" in values.errors[1] and "bad" in values.errors[1]
        assert "ValueError" in values.errors[2] and "empty" in values.errors[2]


def test_17_no_answer_is_wrong_and_counted():
    texts = ["<think>there are", "<think>a</think>", tagged("5"), tagged("4")]
    scored = reward_set({"accuracy": 1.0}).score(texts, [example()] * 4, [0] * 4, 0)
    assert scored.total.tolist() == [0.0, 0.0, 0.0, 1.0]
    assert scored.metrics["parse_fail"] == (2.0, 4.0)
    assert not scored.failures


def test_18_the_last_answer_behind_the_thought_wins():
    assert right("<think>maybe <answer>3</answer></think><answer>4</answer>") == 1.0
    assert right("<think>maybe <answer>4</answer></think><answer>3</answer>") == 0.0
    assert right("<think>x</think><answer>3</answer> <answer>4</answer>") == 1.0
    assert right("<think>maybe <answer>4</answer> or") == 0.0


@pytest.mark.parametrize(
    "text, strict, lenient",
    [
        ("<think>a</think><answer>b</answer>", 1, 1),
        ("<think>\na\n</think>\n<answer>\nb\n</answer>", 1, 1),
        ("<think>a</think>\n\n <answer>b</answer>\n", 1, 1),
        ("<think>a</think> so <answer>b</answer>", 0, 1),
        ("<think>a</think><answer>b</answer> done", 0, 1),
        ("<think>a</think><answer>1</answer><answer>2</answer>", 0, 1),
        ("<think>a</think><think>b</think><answer>c</answer>", 0, 1),
        ("<think></think><answer></answer>", 0, 0),
        ("<think> </think><answer>4</answer>", 0, 0),
        ("<think>a</think><answer> </answer>", 0, 0),
        ("<answer>b</answer><think>a</think>", 0, 0),
        ("<answer>b</answer>", 0, 0),
        ("<think>a</think>", 0, 0),
        ("4", 0, 0),
        ("", 0, 0),
    ],
)
def test_19_format_has_a_strict_rule_that_pays_and_a_lenient_one_that_is_logged(text, strict, lenient):
    scored = reward_set({"format": 1.0}).score([text], [example()], [0], 0)
    assert scored.total.tolist() == [strict]
    assert scored.metrics["format/strict"] == (strict, 1.0)
    assert scored.metrics["format/lenient"] == (lenient, 1.0)


def test_20_length_compares_tokens_within_each_group():
    short, long = tagged("4"), tagged("4", thought="x" * 10)
    wrong_short, wrong_long = tagged("5"), tagged("5", thought="x" * 10)

    def words(texts):  # one token a character, and the second group's texts are ten times as long
        return char_lengths(texts)

    texts = [short, long, wrong_short, wrong_long] + [t.replace("x", "yyyyyyyyyy") for t in (short, long)]
    groups = [0, 0, 0, 0, 7, 7]
    expected = [0.5, -0.5, 0.0, -0.5, 0.5, -0.5]
    assert score(length.length, texts, group_ids=groups, count_tokens=words) == pytest.approx(expected)
    order = [4, 0, 5, 1, 2, 3]  # groups need not be contiguous
    mixed = score(length.length, [texts[i] for i in order], group_ids=[groups[i] for i in order], count_tokens=words)
    assert mixed == pytest.approx([expected[i] for i in order])


def test_20_length_warms_up_by_option_and_ignores_equal_lengths():
    texts = [tagged("4"), tagged("4", thought="longer")]
    options = {"count_tokens": char_lengths, "warmup_steps": 10}
    assert score(length.length, texts, step=9, **options) == [0.0, 0.0]
    assert score(length.length, texts, step=10, **options) == [0.5, -0.5]
    assert score(length.length, [tagged("4"), tagged("5")], count_tokens=char_lengths) == [0.0, 0.0]
    assert score(length.length, [], count_tokens=char_lengths) == []


def test_20_length_gives_nothing_where_accuracy_has_no_result():
    texts = [tagged("4"), tagged("4", thought="longer"), tagged("4", thought="the longest")]
    examples = [example(), example(None, id="bad"), example()]
    values = length.length(texts, examples, [0, 0, 0], 0, count_tokens=char_lengths)
    assert values == [0.5, None, -0.5]
    assert "bad" in values.errors[1]


def test_21_numbered_lines_count_at_the_start_of_every_line():
    def steps(text):
        return score(reasoning_steps.reasoning_steps, text)[0]

    assert steps("1. a\n2. b\n3. c") == 1.0
    assert steps("<think>\n1. a\n2. b\n</think>") == pytest.approx(2 / 3)
    assert steps("Step 1: a Step 2: b") == pytest.approx(2 / 3)
    assert steps("1. First, a\n2. Next, b") == pytest.approx(2 / 3)  # a mark and its word are one step
    assert steps("- Step 1: a") == pytest.approx(1 / 3)
    assert steps("\n- a\n- b\n- c") == steps("\n- a\n- b\n- c\n- d") == 1.0
    assert steps("3.5 is\n-2") == 0.0


def test_direct_answers_count():
    assert right("4") == right("4.") == right("There are 4 objects.") == right("<answer>4</answer>") == 1.0
    assert right("5 spheres minus 1 leaves 4") == 1.0
    assert right("4 apples and 3 pears") == 0.0
    assert right("five") == right("") == 0.0
    assert right("B", "B") == right("The answer is B", "B") == 1.0


def test_a_text_without_end_is_not_parsed():
    def refuse(checks):
        raise AssertionError("asked")

    assert score(accuracy.accuracy, "1 2 " * MAX_CHARS, verify=refuse) == [0.0]


def test_equal_checks_run_once():
    asked = []

    def verify(checks):
        from rrft_jax.rewards.values import Outcome

        asked.extend(checks)
        return [Outcome(True) for _ in checks]

    values = settle(lambda text, _: Check("4", text), ["a", "b", "a"], [example()] * 3, verify)
    assert values == [1.0, 1.0, 1.0]
    assert asked == [Check("4", "a"), Check("4", "b")]


TARGET = "<think>\n{cot}\n</think>\n<answer>\n{answer}\n</answer>"
COT = st.text("abc 123.,=-+*/\n", min_size=1, max_size=60).filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(cot=COT, answer=st.integers(0, 99), other=st.integers(0, 99))
def test_reference_completions_earn_everything_and_wrong_ones_do_not(cot, answer, other):
    names = ("accuracy", "format", "accuracy_paper", "format_paper")
    rewards = reward_set(dict.fromkeys(names, 1.0))
    texts = [TARGET.format(cot=cot, answer=a) for a in (answer, other)]
    values = rewards.score(texts, [example(str(answer))] * 2, [0, 0], 0).values
    assert values[:, 0].tolist() == [1.0] * 4
    assert values[:, 1].tolist() == [float(other == answer), 1.0] * 2


@settings(max_examples=40, deadline=None)
@given(cot=COT, letter=st.sampled_from("ABCD"), other=st.sampled_from("ABCD"))
def test_reference_completions_with_letters(cot, letter, other):
    text = TARGET.format(cot=cot, answer=letter)
    for reward in (accuracy.accuracy, accuracy.paper):
        assert score(reward, text, other) == [float(letter == other)]
    assert score(format.format_reward, text) == [1.0]


def test_overlong_by_hand():
    """DAPO's equation 13 with L_max 20 and L_cache 4, and verl's min(-(n - (L_max - L_cache)) / L_cache, 0)."""
    texts = ["x" * n for n in (0, 16, 17, 18, 20, 30)]
    give = partial(score, soft_overlong.soft_overlong, texts, count_tokens=char_lengths, max_completion_length=20)
    assert give(buffer=0.2) == give() == pytest.approx([0, 0, -0.25, -0.5, -1, -1])
    assert give(buffer=1) == pytest.approx([0, -0.8, -0.85, -0.9, -1, -1])
    for buffer in (0, 1.5):
        with pytest.raises(ValueError, match=f"soft_overlong.buffer={buffer} is a share"):
            give(buffer=buffer)
