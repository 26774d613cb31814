"""Pairs of answers to sums, one of them wrong, with why: what a judge can learn to do without anybody's data."""

import json

import numpy as np

from rrft_jax.data.example import Example
from rrft_jax.rewards.judge.items import Pair
from rrft_jax.rewards.judge.messages import build_messages
from rrft_jax.rewards.judge.parsing import A, B
from rrft_jax.rewards.judge.rubric import PAIRWISE, default_rubric

NAME = "judging"
_STYLES = ("{sum} = {n}.", "It is {n}.", "{n}", "I think that {sum} is {n}.", "The answer is {n}.")


def judged(id: str, pair: Pair, winner: str, rationale: str | None, metadata: dict) -> Example:
    """What a judge is asked about a pair, with its verdict: system and user's turn as `rewards.judge` builds them."""
    system, user = build_messages(pair, default_rubric(PAIRWISE))
    both = {"response_A": pair.a, "response_B": pair.b}
    return Example(id, NAME, user["content"], winner, (), rationale, {**metadata, **both}, system["content"])


def verdict(winner: str, rationale: str | None = None) -> str:
    """The JSON object that a judge should reply with."""
    said = {"winner": winner} | ({"rationale": rationale} if rationale else {})
    return json.dumps(said, ensure_ascii=False)


def example(seed: int, index: int, split: str, domain: str) -> Example:
    """Examples 2n and 2n + 1 are one pair in both orders. domain "in": sums of two numbers below 50; "out": three."""
    if domain not in ("in", "out"):
        raise ValueError(f"domain {domain!r} of the task {NAME}: choose in or out")
    rng = np.random.default_rng([seed, index // 2, *split.encode(), *domain.encode()])
    numbers = rng.integers(1, 50, 2 if domain == "in" else 3).tolist()
    total, sum_ = sum(numbers), " + ".join(map(str, numbers))
    wrong = total + int(rng.choice([-10, -2, -1, 1, 2, 10]))
    texts = [_STYLES[rng.integers(len(_STYLES))].format(sum=sum_, n=n) for n in (total, wrong)]
    winner = (A, B)[index % 2]
    a, b = texts if winner == A else texts[::-1]
    pair = Pair(f"What is {sum_}?", a, b)
    return judged(f"{split}-{domain}-{index:06d}", pair, winner, f"{sum_} is {total}.", {"index": index})
