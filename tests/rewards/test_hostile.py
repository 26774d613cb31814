"""Every reward ends, soon, without an exception, whatever a completion holds."""

import itertools
import time

import pytest

from rrft_jax.rewards import Pool, registry, symbolic
from rrft_jax.rewards.accuracy import judge
from rrft_jax.rewards.symbolic import Check
from rrft_jax.rewards.values import Outcome
from rrft_jax.rewards.waiting import is_async
from tests.rewards.helpers import char_lengths, example
from tests.rewards.hostile import hostile_texts
from tests.timing import within

GOLDS = ["4", "B", "yes", "12 cm", "2\\sqrt{3}", "(1,2)", "x > 3", "x^2-1", "\\frac{1}{2}", "change_size(7, large)"]
HERE = [name for name, reward in registry.REWARDS.items() if not is_async(reward)]  # and not on a server
# Gold of rewards that read it from another place, or in a form of its own.
GOLD_OF = {
    "functions": "change_size(7, large)", "detection": "[{'Position': [10, 20, 300, 400], 'Confidence': 1}]",
    "grounding": "(100,200),(500,600)", "last": "so 9\n#### 1,018",
}  # fmt: skip
METADATA = {
    "size": [640, 480], "box": [10, 20, 300, 400], "point": [320, 240], "action": "Scroll(start=(5, 9), end=(5, 1))",
    "key_steps": [["Position", "cup", [0.2, 0.3]], ["Size", "cake", 0.2]],
}  # fmt: skip
# One of each kind of reader; others read as they do (tests/rewards/test_geometry.py tries the readers alone).
SAME_READER = (
    "detection_mean_iou_paper", "detection_confidence", "detection_confidence_paper", "detection_found",
    "class_name_paper", "grounding_giou_paper", "grounding_iou", "grounding_hit", "box_format", "point_format",
    "action_format", "action_type", "action_content", "action_step", "point_near_paper", "steps_format",
    "steps_accuracy_paper",
)  # fmt: skip
READERS = [name for name in HERE if name not in SAME_READER]
ONE_TEXT_S = 1.0  # of processor time; 0.05 s is the worst seen


def refused(checks):
    """What would go to math-verify is not what is tried here: its limits are the pool's."""
    return [Outcome(False) for _ in checks]


def run(name, texts):
    options = {"verify": refused, "count_tokens": char_lengths, "max_completion_length": 64}
    reward = registry.get(name, **{key: options[key] for key in registry.options(name) if key in options})
    own = GOLD_OF.get(name.partition("_")[0])
    golds = itertools.cycle([own] if own else GOLDS)
    for text, gold in zip(texts, golds, strict=False):
        values = within(ONE_TEXT_S, reward, [text], [example(gold, metadata=METADATA)], [0], 1000)
        assert len(values) == 1 and not values.errors, (text, values.errors)


@pytest.mark.parametrize("name", HERE)
def test_hostile_texts(name):
    run(name, hostile_texts(seed=1, count=300))


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_50_000_hostile_texts(name):
    run(name, hostile_texts(seed=2, count=50_000))


@pytest.mark.slow
def test_hostile_algebra_ends_within_the_limit_of_the_pool():
    checks = set()
    for text, gold in zip(hostile_texts(seed=3, count=20_000), itertools.cycle(GOLDS), strict=False):
        decision = judge(text, example(gold))
        checks |= {decision} if isinstance(decision, Check) else set()
    assert len(checks) > 50
    checks = sorted(checks)[:200]
    with Pool(2, item_limit_s=2.0, batch_limit_s=600) as pool:
        start = time.monotonic()
        outcomes = symbolic.in_pool(pool)(checks)
        assert time.monotonic() - start < 2.5 * len(checks)
    assert all(outcome.error is None or "Timeout" in outcome.error or "Memory" in outcome.error for outcome in outcomes)


@pytest.mark.parametrize("name", READERS)
def test_time_grows_with_the_length_and_no_faster(name):
    """20,000 characters and more: `caption_format_paper` took minutes for 8,000."""
    units = [
        "<summary>", "</summary><caption>", "</caption>\n<think>", "</think><answer>", "<answer>", "</answer>",
        "</think>",
        "<summary></summary><caption></caption><think></think><answer></answer>", " ", "a", "1",
        "change_size(7, large)",
        "a(", "a, ", "Step 1", "\n- ", "\\boxed{", "(", "4 or ", "1,",
    ]  # fmt: skip
    around = itertools.product(("", "<summary>", "<think>"), units, ("", "</answer>", "x"))
    run(name, [start + unit * (20_000 // len(unit)) + end for start, unit, end in around])
