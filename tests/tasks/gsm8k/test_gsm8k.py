"""GSM8K from its real records to a score."""

import json
from pathlib import Path

from rrft_jax.data.sources.common import read_part
from rrft_jax.data.sources.registry import find_parts
from rrft_jax.evaluation.benchmarks import choose_benchmarks
from rrft_jax.tasks.registry import get_task
from rrft_jax.tasks.texts import cot_target

REAL = Path(__file__).parents[2] / "fixtures" / "gsm8k"


def test_real_records_become_examples_that_their_own_solutions_answer():
    (part,) = find_parts("gsm8k", REAL).parts
    records = read_part(part, strict=True)
    task, examples = get_task("gsm8k"), records.examples
    assert (part.task, part.split, part.count, len(examples)) == ("gsm8k", "test", 10, 10)
    assert [e.answer for e in examples] == "18 3 70000 540 20 64 260 160 2125 114200".split()
    assert examples[0].id == "test-000000" and examples[0].images == ()
    assert examples[0].cot == (
        "Janet sells 16 - 3 - 4 = 9 duck eggs a day.\nShe makes 9 * 2 = $18 every day at the farmer’s market."
    )
    published = [json.loads(line)["answer"] for line in (REAL / "test.jsonl").read_text().splitlines()]
    for replies, right in ((published, 1.0), ([cot_target(e) for e in examples], 1.0), (["It is 7."] * 10, 0.0)):
        assert list(task.scorer.strict(replies, examples, range(10), 0)) == [right] * 10
    assert task.scorer.key("so 1,018.50") == task.scorer.key("$1018.5") != task.scorer.key("1018")
    assert task.prompt_fn("cot")(examples[1]).startswith("A robe takes 2 bolts of blue fiber")
    assert [b.name for b in choose_benchmarks("gsm8k")] == ["gsm8k"]


def test_records_that_cannot_be_used_are_named(tmp_path):
    lines = ['{"question": "q", "answer": "It is 4."}', '{"question": "", "answer": "#### 4"}', "{", "[]"]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    (tmp_path / "train_socratic.jsonl").write_text("{}")
    (part,) = find_parts("gsm8k", tmp_path).parts
    problems = read_part(part).problems
    assert [(p.file, p.record) for p in problems[:2]] == [("train.jsonl", "record 0"), ("train.jsonl", "record 1")]
    assert '"#### 18"' in problems[0].message and "question is ''" in problems[1].message and len(problems) == 4
