"""What a judge is trained on: preferences in both orders, asked as a judge is, answered by the verdict alone."""

import json
import re
from dataclasses import replace

import pytest

from rrft_jax.data.example import Example
from rrft_jax.data.sources.common import read_part
from rrft_jax.data.sources.registry import find_parts
from rrft_jax.rewards import reward_set
from rrft_jax.rewards.judge.items import Pair
from rrft_jax.rewards.judge.messages import build_messages
from rrft_jax.rewards.judge.parsing import read_winner
from rrft_jax.rewards.judge.rubric import PAIRWISE, default_rubric
from rrft_jax.tasks.records import taken
from rrft_jax.tasks.registry import get_task
from rrft_jax.tasks.task import Prediction
from tests.rewards.judge.hostile import HOSTILE

TASK, RUBRIC = get_task("judging"), default_rubric(PAIRWISE)


def test_a_preference_becomes_two_questions_that_a_judge_will_be_asked(tmp_path):
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": HOSTILE[3]}]
    lines = [
        {"prompt": "6 * 7?", "chosen": "42", "rejected": "41", "rationale": "42 is right.", "reference": "42"},
        {"prompt": "Hi", "chosen": "Hello.", "rejected": turns},
        {"prompt": "Hi", "chosen": "Hello.", "rejected": "Hello."},
        {"prompt": "Hi", "chosen": "Hello."},
        {"prompt": "Hi", "chosen": "Hello.", "rejected": "No.", "rationale": 7},
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (part,) = find_parts("preferences", tmp_path).parts
    records = read_part(part)
    assert [p.message.split(";")[0] for p in records.problems] == [
        "chosen and rejected are the same text", "rejected is None", "rationale is 7",
    ]  # fmt: skip
    found, refused = taken(TASK, records.examples)
    assert not refused and [(e.id, e.answer) for e in found] == [
        ("train-000000-ab", "A"), ("train-000000-ba", "B"), ("train-000001-ab", "A"), ("train-000001-ba", "B"),
    ]  # fmt: skip
    pairs = [Pair("6 * 7?", "42", "41", "42"), Pair("6 * 7?", "41", "42", "42"), Pair("Hi", "Hello.", HOSTILE[3])]
    for example, pair in zip(found, pairs, strict=False):
        system, user = build_messages(pair, RUBRIC)
        assert (example.system, TASK.prompt_fn("cot", real=True)(example)) == (system["content"], user["content"])
    assert json.loads(TASK.targets["cot"](found[1])) == {"winner": "B", "rationale": "42 is right."}
    assert json.loads(TASK.targets["ans"](found[2])) == {"winner": "A"}
    with pytest.raises(ValueError, match="train-000001-ab has no rationale: .*config.sft.target=ans"):
        TASK.targets["cot"](found[2])


def test_generated_pairs_come_in_both_orders_and_their_targets_score():
    examples = [TASK.make(3, i, "train", domain) for domain in ("in", "out") for i in range(40)]
    for first, second in zip(examples[::2], examples[1::2], strict=True):
        one, two = first.metadata, second.metadata
        assert (one["response_A"], one["response_B"]) == (two["response_B"], two["response_A"])
        assert (first.answer, second.answer, first.cot) == ("A", "B", second.cot)
        said = [re.findall(r"\d+", text)[-1] for text in (first.cot, one["response_A"], one["response_B"])]
        assert said[0] == said[1] != said[2]
    texts = [TASK.targets["cot"](e) for e in examples]
    scored = reward_set({"judge_verdict": 1.0}).score(texts, examples, [0] * len(texts), 0)
    assert scored.values.min() == 1.0 and [read_winner(t, RUBRIC) for t in texts[:2]] == ["A", "B"]
    said = ['{"winner": "A"}', '{"winner": "tie"}', "Well...", '{"winner": "A"}']
    scored = reward_set({"judge_verdict": 1.0}).score(said, examples[:4], [0] * 4, 0)
    assert scored.values.tolist() == [[1.0, 0.5, 0.0, 0.0]] and scored.metrics["parse_fail/judge_verdict"] == (1.0, 4.0)
    assert TASK.set_metrics([Prediction(e, [t]) for e, t in zip(examples, texts, strict=True)]) == {"first_wins": 0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [("answer", "its answer is 'C'; write A or B"), ("metadata", "response_A and response_B is wanted")],
)
def test_records_that_are_no_pairs_are_refused(change, message):
    wrong = {"answer": "C", "metadata": {"response_A": "a"}}
    example = Example("r", TASK.name, "?", "A", metadata={"response_A": "a", "response_B": "b"})
    assert not taken(TASK, [example])[1]
    assert message in taken(TASK, [replace(example, **{change: wrong[change]})])[1]["r"]
