"""Both scores of an answer: the published one against what the original code gave, the strict one where it departs."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.data.example import Example
from rrft_jax.evaluation.scoring import score_answers
from rrft_jax.rewards import Pool, symbolic
from rrft_jax.rewards.symbolic import Check, in_pool, verify_here
from rrft_jax.rewards.values import Outcome
from rrft_jax.tasks.registry import get_task, tasks
from tests.golden import FIXTURE, golden_path

COUNTING, STRUCTURE, SPATIAL = (t for t in tasks().values() if any(c.file for c in t.benchmarks))
SCORERS = {"get_score_clevr": COUNTING, "get_score_geomath": STRUCTURE, "get_score_trance": SPATIAL}
S2 = "change_size(7, large), change_color(2, red)"
S2_SORTED = "change_color(2, red), change_size(7, large)"


def scored(task, text, answer, verify=verify_here):
    return score_answers(task, [text], [Example("e0", task.name, "?", answer)], verify=verify)[0]


def both(task, text, answer):
    one = scored(task, text, answer)
    return one.paper_score, one.strict_score


GOLDEN = "rewards/reason_rft_eval.json"


def test_golden_cases():
    for case in json.loads(golden_path(GOLDEN).read_text()):
        if case.get("enhance"):  # an option of the published scorer that its tables leave off
            continue
        one = scored(SCORERS[case["fn"]], case["pred"], case["sol"])
        assert one.paper_score == pytest.approx(case["score"], abs=1e-12), case


def test_the_fixture_has_cases_of_every_published_scorer():
    cases = json.loads((FIXTURE / GOLDEN).read_text())
    assert len(cases) == 18 and {case["fn"] for case in cases} == set(SCORERS)


def test_the_reference_somewhere_in_the_text_is_no_answer():
    assert scored(STRUCTURE, "The answer is B", "B").paper_score == 0.0
    assert scored(STRUCTURE, "<answer>so B</answer>", "B").paper_score == 0.0


def test_12_tagged_answers_are_compared_by_value_and_letters_as_they_are():
    assert both(COUNTING, "<answer>4.0</answer>", "4") == (1.0, 1.0)
    assert both(STRUCTURE, "<answer>12 cm</answer>", "12") == (1.0, 1.0)
    assert both(STRUCTURE, "<answer>(B)</answer>", "B") == (0.0, 1.0)
    assert both(STRUCTURE, "<think>x</think><answer>\nC\n</answer>", "C") == (1.0, 1.0)
    assert both(COUNTING, "<think>x</think>\n<answer>\n5\n</answer>", "4") == (0.0, 0.0)


def test_12_the_answer_takes_the_place_of_the_gold_one_in_the_published_check():
    seen = []

    def verify(checks):
        seen.extend(checks)
        return [Outcome(False) for _ in checks]

    scored(STRUCTURE, "<answer>1-\\cos x</answer>", "\\sin x", verify=verify)
    assert set(seen) == {Check("1-\\cos x", "\\sin x"), Check("\\sin(x)", "1-(\\cos(x))", whole=True)}


def test_13_an_answer_over_several_lines_is_not_found_by_the_published_scorer():
    def give(thought, answer):
        return both(SPATIAL, f"<think>{thought}</think>\n<answer>\n{answer}\n</answer>", S2)

    assert give("maybe change_shape(7, cube)", S2) == (pytest.approx(2 / 3), 1.0)
    assert give("change_shape(7, cube) and change_material(1, glass)", S2) == (0.5, 1.0)
    assert give(S2, "none") == (1.0, 0.0)  # the right functions in the thought


def test_14_repeats_cost_nothing_in_the_published_scorer():
    five = ", ".join(["change_size(7, large)"] * 5)
    assert both(SPATIAL, f"<answer>{five}</answer>", "change_size(7, large)") == (1.0, pytest.approx(0.2))


def test_15_the_strict_score_takes_the_best_matching():
    text = "<answer>change_size(1, large), change_size(1, small)</answer>"
    assert both(SPATIAL, text, "change_size(1, medium), change_size(2, large)") == (0.375, 0.5)


def test_18_strict_reads_the_last_answer_behind_the_thought():
    draft = "<think>maybe <answer>3</answer></think><answer>4</answer>"
    assert both(COUNTING, draft, "4") == (0.0, 1.0)
    assert both(COUNTING, "<think>there are 4", "4") == (1.0, 0.0)  # cut off: the published check takes the last number


def test_exact_is_the_whole_answer():
    one = scored(SPATIAL, "<answer>change_size(7, small), change_color(2, red)</answer>", S2)
    assert (one.strict_score, one.exact) == (0.75, 0.0)
    assert scored(SPATIAL, "<answer>change_color(2, red), change_size(7, large)</answer>", S2).exact == 1.0
    assert scored(COUNTING, "4", "4").exact == 1.0


def test_types_and_formats():
    def kinds(task, text, answer):
        one = scored(task, text, answer)
        return one.answer_type, one.format_strict, one.format_lenient

    assert kinds(STRUCTURE, "<think>a</think><answer>B</answer>", "B") == ("choice", True, True)
    assert kinds(STRUCTURE, "<think>a</think> so <answer>B</answer>", "2\\pi") == ("non_choice", False, True)
    assert kinds(COUNTING, "4", "4") == ("non_choice", False, False)
    assert kinds(SPATIAL, "", "change_shape(1, cube)")[0] == "1" and kinds(SPATIAL, "", S2)[0] == "2"


@pytest.mark.parametrize(
    "task, texts, vote",
    [
        (COUNTING, ["4", "<answer>4.0</answer>", "There are 4.", "<think>3</think><answer>\n4 cubes\n</answer>"], "4"),
        (COUNTING, ["Four", "<answer>four.</answer>"], "four"),
        (COUNTING, ["", "<think>4", "<answer></answer>"], None),
        (STRUCTURE, ["B", "(b)", "<answer>B. 12</answer>", "The answer is B"], "B"),
        (STRUCTURE, ["1/2", "<answer>0.50</answer>", "$0.5$"], "0.5"),
        (STRUCTURE, ["2\\sqrt{3}", "<answer>$2\\sqrt{3}$</answer>"], "2\\sqrt{3}"),
        (SPATIAL, [S2, "<answer>change_color('2', red)\nchange_size(7,large)</answer>"], S2_SORTED),
        (SPATIAL, ["none", "<answer>change_size(7)</answer>"], None),
    ],
)
def test_votes_are_in_one_spelling(task, texts, vote):
    answer = "change_shape(1, cube)" if task is SPATIAL else "9"
    assert {scored(task, text, answer).answer for text in texts} == {vote}


def test_what_cannot_be_scored_says_why_and_costs_no_other():
    # As the worker pool answers where a check overruns: nothing here depends on how fast the machine is.
    overrun = lambda checks: [Outcome(error="TimeoutError: took over 5 s") for _ in checks]  # noqa: E731
    examples = [Example(f"e{i}", STRUCTURE.name, "?", "\\frac{1}{2}") for i in range(2)]
    slow, equal = score_answers(STRUCTURE, ["<answer>\\sin 9!!</answer>", "\\frac{1}{2}"], examples, verify=overrun)
    assert slow.paper_score is slow.strict_score is slow.exact is None and slow.error == "TimeoutError: took over 5 s"
    assert (equal.paper_score, equal.strict_score, equal.error) == (1.0, 1.0, None)
    bad = scored(SPATIAL, S2, "no function")
    assert (bad.paper_score, bad.strict_score, bad.exact, bad.answer_type) == (0.0, None, None, "0")
    assert "e0" in bad.error and "no sequence of functions" in bad.error
    assert score_answers(COUNTING, [], [], verify=verify_here) == []


def test_checks_run_in_the_worker_pool():
    texts, answers = ["<answer>\\frac{2}{4}</answer>", "<answer>\\sqrt{8}</answer>"], ["0.5", "2\\sqrt{2}"]
    examples = [Example("e", STRUCTURE.name, "?", answer) for answer in answers]
    with Pool(1, item_limit_s=60, initializer=symbolic.load) as pool:
        rows = score_answers(STRUCTURE, texts, examples, verify=in_pool(pool))
    assert rows == score_answers(STRUCTURE, texts, examples, verify=verify_here)
    assert [row.strict_score for row in rows] == [1.0, 1.0]


CALLS = ["change_size(0, large)", "change_color(1, red)", "change_position(0, front_left)", "change_shape(2, cube)"]
# Each answer as its parts, in any order.
ANSWERS = {
    COUNTING.name: st.tuples(st.integers(0, 20).map(str)),
    STRUCTURE.name: st.tuples(st.sampled_from(["A", "B", "C", "D", "12", "2.5", "\\frac{1}{2}", "2\\sqrt{3}", "60"])),
    SPATIAL.name: st.lists(st.sampled_from(CALLS), min_size=1, max_size=4, unique=True),
}
THOUGHT = st.text("abc 12.,=+\n", min_size=1, max_size=40).filter(str.strip)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(ANSWERS)), THOUGHT, st.data())
def test_a_reference_completion_has_full_score_and_a_wrong_one_has_not(task, thought, data):
    gold, other = data.draw(ANSWERS[task]), data.draw(ANSWERS[task])
    task = get_task(task)
    examples = [Example("e0", task.name, "?", ", ".join(gold))] * 2
    texts = [f"<think>\n{thought}\n</think>\n<answer>\n{', '.join(answer)}\n</answer>" for answer in (gold, other)]
    right, wrong = score_answers(task, texts, examples, verify=verify_here)
    assert (right.paper_score, right.strict_score, right.exact) == (1.0, 1.0, 1.0) and right.format_strict
    equal = set(gold) == set(other)
    assert (wrong.paper_score == 1.0) == (wrong.strict_score == 1.0) == (wrong.exact == 1.0) == equal
    assert (right.answer == wrong.answer) == equal
