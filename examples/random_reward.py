"""A reward that knows nothing of the answer: a control for what a run learns.

    python launch/train.py --config=configs/grpo_counting.py --config.rewards.accuracy=0 \\
        --reward examples/random_reward.py:coin

Whatever a training with it changes, the updates alone change, and not what they were rewarded for.
"""

import hashlib


def coin(completions, examples, group_ids, step):
    """1.0 or 0.0 with equal odds: a function of step, example and place, so that a resumed run repeats it."""
    tosses = (f"{step} {example.id} {place}" for place, example in enumerate(examples))
    return [float(hashlib.sha256(toss.encode()).digest()[0] & 1) for toss in tosses]
