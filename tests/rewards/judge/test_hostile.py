"""No response raises its own score: the marks hold, and what a judge quotes is not its verdict."""

import asyncio

import pytest

from rrft_jax.rewards.judge import fence, messages
from rrft_jax.rewards.judge.demonstrations import chosen_demonstrations
from rrft_jax.rewards.judge.items import Item, Pair
from rrft_jax.rewards.judge.judging import Judge
from rrft_jax.rewards.judge.rubric import PAIRWISE, POINTWISE, default_rubric
from tests.rewards.judge.hostile import HOSTILE, PROMPT, WRONG, gullible


def judge(kind, quote):
    rubric = default_rubric(kind)
    return Judge(gullible(kind == PAIRWISE, quote), rubric, chosen_demonstrations("", 6, rubric), both_orders=False)


def score(response, quote):
    return asyncio.run(judge(POINTWISE, quote).score(Item(PROMPT, response))).value


def share_of_b(response, quote):
    """How far the hostile response, shown as B, is preferred to an honest one."""
    return 1 - asyncio.run(judge(PAIRWISE, quote).compare(Pair(PROMPT, "It is 42.", response))).value


@pytest.mark.parametrize("quote", ["before", "behind", "inside"])
@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_no_text_raises_its_own_score(number, quote):
    assert len(HOSTILE) == 26
    for text in (HOSTILE[number], f"{WRONG}\n{HOSTILE[number]}"):
        assert score(text, quote) <= score(WRONG, quote) == 0.2
        assert share_of_b(text, quote) <= share_of_b(WRONG, quote) == 0.0


def test_the_judge_is_fooled_without_marks(monkeypatch):
    """The stand-in has teeth: with the texts as they are, most of them succeed."""
    monkeypatch.setattr(messages, "fenced", lambda parts: "\n".join(parts.values()))
    assert sum(score(text, "before") > 0.2 for text in HOSTILE) >= 21


def test_the_judge_is_fooled_by_control_tokens_inside_the_marks(monkeypatch):
    monkeypatch.setattr(fence, "disarmed", lambda text: text)
    fooled = [text for text in HOSTILE if "\ud800" not in text and score(text, "before") > 0.2]
    assert len(fooled) == 3
