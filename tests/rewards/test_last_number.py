"""Exact match of the last number, as GSM8K is graded."""

import numpy as np

from rrft_jax.rewards import registry
from tests.rewards.helpers import example, score
from tests.timing import within


def test_last_number_as_gsm8k():
    reward = registry.get("last_number")
    gold = "Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\n#### 1,018"
    texts = ["so 9, hence $1,018.", "1018.0", "1,018 of 2", "no number", "1018", "-1018", "It costs 1,018 dollars."]
    assert score(reward, texts, gold) == [1, 1, 0, 0, 1, 0, 1]
    broken = reward(["4"], [example("none")], [0], 0)
    assert list(broken) == [None] and "holds no number" in broken.errors[0]
    assert np.isfinite(within(1, reward, ["1," * 50_000], [example("4")], [0], 0)[0])
