"""Right answers earn 1 in all their writings, and what only looks right earns nothing, in training and evaluation."""

import json
from pathlib import Path

import pytest

from rrft_jax.answers.compare import Undecided, decide
from rrft_jax.data.example import Example
from rrft_jax.evaluation.scoring import score_answers
from rrft_jax.rewards.accuracy import accuracy
from rrft_jax.rewards.symbolic import verify_here
from rrft_jax.tasks.registry import get_task
from tests.timing import within

TASK = "structure_perception"
FIXTURES = Path(__file__).parents[1] / "fixtures" / "answers"


def tagged(answer):
    return f"<think>t</think><answer>{answer}</answer>"


def collected():
    rows = json.loads((FIXTURES / "field.json").read_text(encoding="utf-8"))
    return [(row.get("completion") or tagged(row["answer"]), row["gold"], row["expected"]) for row in rows]


def siblings():
    pairs = json.loads((FIXTURES / "siblings.json").read_text(encoding="utf-8"))
    return [(tagged(a), gold, 1) for a, gold in pairs["right"]] + [(tagged(a), gold, 0) for a, gold in pairs["wrong"]]


@pytest.mark.parametrize("cases", [collected, siblings])
def test_an_answer_earns_1_where_all_of_it_is_understood_and_right_and_else_nothing(cases):
    texts, golds, expected = zip(*cases(), strict=True)
    examples = [Example(f"e{i}", TASK, "?", gold) for i, gold in enumerate(golds)]
    earned = accuracy(texts, examples, list(range(len(texts))), 0)
    assert not earned.errors
    assert [row for row in zip(texts, golds, expected, earned, strict=True) if row[2] != row[3]] == []
    strict = [one.strict_score for one in score_answers(get_task(TASK), texts, examples, verify=_only_strict)]
    assert strict == list(earned)


def _only_strict(checks):
    """The published score sends every text to math-verify, which is not what is tried here."""
    from rrft_jax.rewards.values import Outcome

    whole = iter(verify_here([check for check in checks if check.whole]))
    return [next(whole) if check.whole else Outcome(False) for check in checks]


def test_reading_an_answer_costs_far_less_than_a_millisecond_and_few_need_algebra():
    pairs = json.loads((FIXTURES / "siblings.json").read_text(encoding="utf-8"))
    pairs = pairs["right"] + pairs["wrong"]
    # 0.1 ms each on one core of an ordinary machine
    results = within(1e-3 * len(pairs), lambda: [decide(answer, gold) for answer, gold in pairs])
    assert sum(isinstance(result, Undecided) for result in results) < 0.05 * len(pairs)


PAIRS = [("4", "4"), ("B", "B"), ("2√3", "2\\sqrt{3}"), ("12 cm", "12"), ("(1, 2)", "(1,2)"), ("x+1", "x+1")]
WRAPS = ["not {}", "{} or 7", "7 or {}", "{}, 7", "maybe {}", "{}?", "-{}", "{} is wrong", "no {}"]


@pytest.mark.parametrize("wrap", WRAPS)
def test_what_takes_a_right_answer_back_earns_nothing(wrap):
    for answer, gold in PAIRS:
        assert decide(answer, gold) is True
        assert decide(wrap.format(answer), gold) is not True, (wrap, answer)
        assert decide(f"The answer is {wrap.format(answer)}", gold) is not True, (wrap, answer)
