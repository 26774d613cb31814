"""Reading and matching sequences of functions, where the defaults depart from the published rewards."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.answers.functions import Function, is_sequence, read_functions, read_paper, same
from rrft_jax.rewards import RewardSet, Weighted, reward_set
from rrft_jax.rewards import functions as rewards
from rrft_jax.rewards.accuracy import accuracy
from rrft_jax.rewards.caption_format import caption_format
from rrft_jax.rewards.transforms import FULL_ONLY, PARTIAL, PENALTY, best, in_passes, partial_credit
from tests.rewards.helpers import example, score, tagged

S2 = "change_size(7, large), change_color(2, red)"
LARGE, RED = Function("change_size", "7", "large"), Function("change_color", "2", "red")
DEFAULTS = (rewards.functions, rewards.full, rewards.penalty)


@pytest.mark.parametrize(
    "text",
    [
        S2,
        "change_size( 7 , large ) ,\nchange_color (2,red).",
        "change_size('7', \"large\"), change_color(2, \u2018red\u2019)",
        "Change_Size(7, Large), CHANGE_COLOR(2, Red)",
        "change-size(07, large) and change\\_color(2, red)",
        "['change_size(7, large)', 'change_color(2, red)']",
        "1. `change_size(7, large)` (the cube)\n2. `change_color(2, red)`",
        "I think it is change_size(7, large) and then change_color(2, red)!",
    ],
)
def test_spellings_of_one_answer(text):
    assert read_functions(text) == [LARGE, RED]
    assert [score(reward, tagged(text), S2) for reward in (*DEFAULTS, accuracy)] == [[1.0]] * 4


@pytest.mark.parametrize("value", ["front-left", "front_left", "front left", "Front-Left", "'front-left'"])
def test_directions(value):
    assert read_functions(f"change_position(0, {value})") == [Function("change_position", "0", "front_left")]
    assert score(accuracy, tagged(f"change_position(0, {value})"), "change_position(0, front_left)") == [1.0]


def test_calls_that_cannot_be_read_are_claims_without_arguments():
    assert read_functions("change_size(7 large), change_color(2, red)") == [Function("change_size", None, None), RED]
    assert read_functions("change_position(1, left, 2)") == [Function("change_position", None, None)]
    assert read_functions("the cube (large), f(x), change_size, large") == []
    assert score(rewards.functions, tagged("change_size(7 large), change_color(2, red)"), S2) == [0.625]
    assert score(accuracy, tagged("change_color(2, red), change_size()"), "change_color(2, red)") == [0.0]


def test_a_long_answer_is_read_in_linear_time():
    assert read_functions("a" * 300_000) == read_functions("a-" * 150_000) == read_functions("a " * 150_000) == []
    assert read_paper("a" * 300_000) == []
    assert read_functions("f(" * 150_000) == [] and len(read_paper("f(a, b) " * 10_000)) == 10_000


def test_what_a_reference_of_functions_is():
    assert is_sequence(S2) and is_sequence("['change_size(7, large)']") and is_sequence("change_shape(1, cube).")
    for other in ("4", "B", "P(2, 3)", "x_1", "\\frac(1, 2)", "change_size()", "the change_size(7, large)", ""):
        assert not is_sequence(other)


def test_accuracy_asks_for_the_whole_answer_in_any_order():
    def right(text, gold=S2):
        return score(accuracy, tagged(text), gold, verify=lambda checks: pytest.fail(f"asked for {checks}"))[0]

    assert right("change_color(2, red), change_size(7, large)") == 1.0
    for wrong in ("change_size(7, large)", f"{S2}, change_color(2, red)", f"{S2}, change_shape(1, cube)", "4", "none"):
        assert right(wrong) == 0.0


def test_13_14_repeats_cost_their_share():
    five = ", ".join(["change_size(7, large)"] * 5)
    for reward in DEFAULTS:
        assert score(reward, tagged(five), "change_size(7, large)") == pytest.approx([0.2])
        assert score(reward, tagged(f"change_size(7, large), {S2}"), S2) == pytest.approx([2 / 3])
    once, twice = [LARGE, RED], [LARGE, RED, RED]
    assert partial_credit(twice, once, PARTIAL, best, repeats_cost=False) == 1.0


def test_15_the_greatest_partial_credit_counts():
    text, gold = "change_size(1, large), change_size(1, small)", "change_size(1, medium), change_size(2, large)"
    assert score(rewards.functions, tagged(text), gold) == [0.5]
    assert score(rewards.paper, tagged(text), gold) == [0.375]


def test_penalty_is_for_what_is_matched_not_a_way_out():
    # Unmatched functions cost nothing, so a matching that looked for the least penalty would leave these alone.
    assert score(rewards.penalty, tagged("change_size(7, small), change_color(3, blue)"), S2) == [-0.375]
    assert score(rewards.penalty, tagged("change_color(3, red)"), "change_color(2, red)") == [-0.25]
    assert score(rewards.penalty, [tagged("change_shape(7, cube)"), tagged("none"), ""], S2) == [0.0] * 3


def test_16_a_reference_without_functions_is_an_error_of_its_record():
    for gold, said in [("none", "no sequence of functions"), ("change_size(7 large)", "no sequence"), ("", "empty")]:
        values = rewards.functions([tagged(S2)] * 2, [example(S2), example(gold, id="bad")], [0, 0], 0)
        assert values == [1.0, None] and list(values.errors) == [1]
        assert "bad" in values.errors[1] and said in values.errors[1]


TEXTS = [tagged(S2), tagged("none"), tagged("change_size(7 large)"), f"<think>{S2}", ""]


def test_17_an_unreadable_answer_is_wrong_and_counted():
    scored = reward_set({"functions": 1.0, "functions_paper": 1.0}).score(TEXTS, [example(S2)] * 5, [0, 0, 1, 1, 1], 0)
    assert scored.values[0].tolist() == [1.0, 0.0, 0.125, 0.0, 0.0]
    assert scored.metrics["parse_fail/functions"] == (4.0, 5.0)
    assert "parse_fail/functions_paper" not in scored.metrics
    assert scored.metrics["parse_fail"] == (2.0, 5.0) and not scored.failures  # the others have an answer


def test_17_the_count_survives_groups_that_fail():
    def picky(completions, examples, group_ids, step):
        if group_ids != [1, 1, 1]:
            raise ValueError("not this one")
        return rewards.functions(completions, examples, group_ids, step)

    one = RewardSet((Weighted("picky", picky),))
    assert one.score(TEXTS, [example(S2)] * 5, [0, 1, 0, 1, 1], 0).metrics["parse_fail/picky"] == (3.0, 5.0)


def test_18_the_last_answer_behind_the_thought_wins():
    draft = f"<think>maybe <answer>change_size(3, small)</answer></think><answer>{S2}</answer>"
    for reward in DEFAULTS:
        assert score(reward, draft, S2) == [1.0]
        assert score(reward, f"<think>first change_size(7, large)</think> {S2}", S2) == [1.0]
        assert score(reward, f"<think>{S2}</think><answer>none</answer>", S2) == [0.0]


SECTIONS = "<summary>s</summary>\n<caption>c</caption>\n<think>t</think>\n<answer>a</answer>"


@pytest.mark.parametrize(
    "text, value",
    [
        (SECTIONS, 1),
        (SECTIONS + "\n", 1),
        (SECTIONS.replace("\n", ""), 1),
        (SECTIONS.replace(">c<", "> <"), 0),
        (SECTIONS.replace("<caption>c</caption>\n", ""), 0),
        (SECTIONS + "<answer>b</answer>", 0),
        (SECTIONS + " done", 0),
        ("<think>t</think><answer>a</answer>", 0),
        ("", 0),
    ],
)
def test_19_caption_format(text, value):
    assert score(caption_format, text) == [value]


names = st.sampled_from(["change_size", "change_color", "change_position"])
objects, values = st.sampled_from("012"), st.sampled_from(["small", "red", "front_left"])
sequences = st.lists(st.builds(Function, names, objects, values), max_size=4)
CREDITS = (PARTIAL, FULL_ONLY, PENALTY)


def kind(a, b):
    """Written out once more: full, object, value, name alone."""
    if a[0] != b[0]:
        return None
    return {(True, True): 0, (True, False): 1, (False, True): 2, (False, False): 3}[a[1] == b[1], a[2] == b[2]]


def every_matching(ours, theirs):
    """The kinds of match in every one-to-one assignment of the shorter side to the longer."""
    short, long = sorted((ours, theirs), key=len)
    for chosen in itertools.permutations(long, len(short)):
        kinds = (kind(*pair) for pair in zip(short, chosen, strict=True))
        yield [k for k in kinds if k is not None]


@settings(max_examples=150, deadline=None)
@given(sequences, sequences, st.randoms())
def test_best_is_the_best_of_all_matchings(ours, theirs, random):
    ours, theirs = list(dict.fromkeys(ours)), list(dict.fromkeys(theirs))
    for credits in CREDITS:
        sums = lambda kinds: tuple(sum(table[k] for k in kinds) for table in (PARTIAL, credits))  # noqa: E731, B023
        wanted = max(map(sums, every_matching(ours, theirs)))
        got = best(ours, theirs, credits) if ours and theirs else 0.0
        assert got == wanted[1]
        shuffled = random.sample(ours, len(ours))
        assert not ours or not theirs or best(shuffled, theirs, credits) == best(theirs, shuffled, credits) == got
    assert wanted[0] >= in_passes(ours, theirs, PARTIAL)
    assert partial_credit(ours, theirs, FULL_ONLY, in_passes) == partial_credit(ours, theirs, FULL_ONLY, best)


@settings(max_examples=60, deadline=None)
@given(sequences.filter(len), sequences.filter(len), st.text("abc 123.,=\n", min_size=1, max_size=30).filter(str.strip))
def test_reference_completions_earn_everything_and_wrong_ones_do_not(right, wrong, thought):
    right, wrong = list(dict.fromkeys(right)), list(dict.fromkeys(wrong))
    gold, other = (", ".join(f"{f.name}({f.object}, {f.value})" for f in answer) for answer in (right, wrong))
    families = ("functions", "functions_full", "functions_penalty", "format")
    names = [name + suffix for name in families for suffix in ("", "_paper")]
    all_of_them = reward_set(dict.fromkeys(["accuracy", *names], 1.0))
    texts = [f"<think>\n{thought}\n</think>\n<answer>\n{answer}\n</answer>" for answer in (gold, other)]
    given_values = all_of_them.score(texts, [example(gold)] * 2, [0, 0], 0).values
    assert given_values[:, 0].tolist() == [1.0] * 9
    equal = same(right, wrong)
    assert ((given_values[:7, 1] == 1.0) == equal).all() and (given_values[:7, 1] <= 1.0).all()
    assert (given_values[:7, 1] >= -0.5).all()
