"""Each task's own reference completions under every reward of the task and both scorers, and wrong answers."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.answers.functions import read_functions
from rrft_jax.evaluation.scoring import score_answers
from rrft_jax.rewards import reward_set
from rrft_jax.rewards.symbolic import verify_here
from rrft_jax.tasks.registry import get_task, tasks

# What a right answer earns 1 from; with the format, what a recipe of the task may weight.
ALSO = {
    "visual_counting": ("math_accuracy", "math_accuracy_paper"),
    "structure_perception": ("math_accuracy", "math_accuracy_paper"),
    "spatial_transformation": (
        "accuracy", "functions", "functions_paper", "functions_penalty", "functions_penalty_paper",
    ),
}  # fmt: skip
# The published tolerance divides by the reference, and its handler makes that a 0: row 10 of the deviations.
BY_ZERO = "math_accuracy_paper"


@cache
def made(name, domain, index):
    return get_task(name).make(3, index, "test", domain).without_images()


CASES = [(name, of.domain) for name, task in tasks().items() if name in ALSO for of in task.held_out.values()]
INDICES = st.integers(0, 10**6)


def values_of(name, texts, example):
    names = (*get_task(name).rewards, *get_task(name).paper_rewards, *ALSO[name])
    scored = reward_set(dict.fromkeys(names, 1.0)).score(texts, [example] * len(texts), [0] * len(texts), 0)
    assert not scored.failures
    rows = {n: row.tolist() for n, row in zip(scored.names, scored.values, strict=True)}
    if example.answer == "0":
        assert rows.pop(BY_ZERO)[0] == 0.0
    return rows


@pytest.mark.parametrize(("name", "domain"), CASES)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(index=INDICES)
def test_a_reference_completion_earns_everything(name, domain, index):
    example, task = made(name, domain, index), get_task(name)
    cot, direct = (task.targets[kind](example) for kind in ("cot", "ans"))
    rows = values_of(name, [cot, direct], example)
    assert {n: row[0] for n, row in rows.items()} == dict.fromkeys(rows, 1.0)
    answers = {n: row[1] for n, row in rows.items() if not n.startswith("format")}
    assert answers == dict.fromkeys(answers, 1.0)
    for one in score_answers(get_task(name), [cot, direct], [example] * 2, verify=verify_here):
        assert (one.paper_score, one.strict_score, one.exact, one.error) == (1.0, 1.0, 1.0, None)


def wrong_of(example, other):
    """An answer of the task's kind that is not right: another example's, or one that is off by a little."""
    if example.task == "spatial_transformation":
        gold = read_functions(example.answer)
        there = read_functions(other.answer)
        return [text for text, calls in (
            (other.answer, there),
            (example.answer.rpartition(", change_")[0], gold[:-1]),
            (f"{example.answer}, change_size(9, large)", [*gold, "more"]),
            (example.answer.replace(f"({gold[0].object},", "(9,", 1), None),
        ) if text and calls != gold]  # fmt: skip
    if example.answer in "ABCD":
        return [letter for letter in "ABCD" if letter != example.answer]
    if example.answer.isdecimal():
        return [str(int(example.answer) + 1), *([other.answer] if other.answer != example.answer else [])]
    return [f"{example.answer} + 1", "none"]


@pytest.mark.parametrize(("name", "domain"), CASES)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(index=INDICES, other=INDICES)
def test_a_wrong_answer_earns_less(name, domain, index, other):
    """In the reference's own words: the right thought does not make up for it."""
    example = made(name, domain, index)
    target = get_task(name).targets["cot"](example)
    for answer in wrong_of(example, made(name, domain, other)):
        text = target.replace(f"<answer>\n{example.answer}\n</answer>", f"<answer>\n{answer}\n</answer>")
        assert text != target
        rows = values_of(name, [text, answer], example)
        tolerant = ("format", "format_paper", "math_accuracy", "math_accuracy_paper")  # 60 is near enough to 61
        for n in rows.keys() - set(tolerant):
            assert max(rows[n]) < 1.0, (n, answer, example.answer)
        for one in score_answers(get_task(name), [text, answer], [example] * 2, verify=verify_here):
            assert one.paper_score < 1.0 and one.strict_score < 1.0 and one.exact == 0.0, (answer, example.answer)
