"""Thousands of records that are almost right: each is read whole or listed by its file and number, nothing else."""

import json
import random

import pytest
from PIL import Image

from rrft_jax.data.conversations import FIELDS
from rrft_jax.data.example import Example
from rrft_jax.data.folder import read_records
from rrft_jax.data.pictures import Pictures
from rrft_jax.data.records import RecordError, parse_record
from rrft_jax.data.values import missing, parse_records
from tests.data.mutants import as_json, damaged, mutant
from tests.timing import within

WHOLE = {"id", "image", "images", "problem", "answer", "solution", "cot", "system", *FIELDS}


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 3)).save(tmp_path / name)
    return tmp_path


def check(example: Example, record: dict) -> None:
    """What may be said of any record that is read."""
    for text in (example.id, example.problem, example.answer):
        assert isinstance(text, str) and text.strip() and text not in ("nan", "inf", "-inf", "NaN")
        text.encode()
    for text in (example.cot, example.system, example.reply):
        assert text is None or text.strip()
    asked = [example.problem, *(text for role, text in example.history if role == "user")]
    assert sum(text.count("<image>") for text in asked) in (0, len(example.images))
    others = [example.answer, example.cot or "", *(text for role, text in example.history if role != "user")]
    assert not any("<image>" in text for text in others)
    assert [role for role, _ in example.history] == ["user", "assistant"] * (len(example.history) // 2)
    assert (example.reply is None) or example.history
    # Nothing that is said is lost, but for marks, tags and the published templates.
    turns = next((record[field] for field in FIELDS[:3] if isinstance(record.get(field), list) and record[field]), ())
    everything = " ".join((*asked, *others, example.system or "", example.reply or ""))
    for turn in turns:
        text = turn.get("content") or turn.get("value")
        if isinstance(text, str) and "Output" not in text and (len(turns) > 3 or "<think>" not in text):
            said = [w for w in text.replace("<image>", " ").split() if "answer>" not in w and "think>" not in w]
            assert all(word in everything for word in said), (said, record)
    assert set(record) - WHOLE <= set(example.metadata) | {key for key in record if missing(record[key])}


def read_one(text: str | bytes, pictures: Pictures, number: int):
    record = parse_records(text, number, mark=True)
    return record, *parse_record(record, pictures, "vqa", "mutants.json", number)


def run(folder, count: int, seed: int) -> int:
    """How many of `count` mutants are read, each within a second."""
    rng, pictures = random.Random(seed), Pictures((folder,))
    good = 0
    for number in range(count):
        record = mutant(rng)
        text = as_json(record)
        text = damaged(text, rng) if rng.random() < 0.3 else text
        try:
            record, example, problems = within(1, read_one, text, pictures, number)
        except ValueError as error:
            assert type(error) is ValueError and str(error).startswith("not "), error
            continue
        assert (example is None) == bool(problems)
        for problem in problems:
            assert problem.file == "mutants.json" and problem.record.startswith(f"record {number}")
            assert problem.kind and problem.message and len(str(problem)) < 5000
        if example:
            check(example, record)
            good += 1
    return good


def test_mutated_records_are_read_whole_or_listed(folder):
    assert 250 < run(folder, 5_000, 1) < 4_000


@pytest.mark.slow
def test_many_mutated_records_are_read_whole_or_listed(folder):
    assert 2_500 < run(folder, 50_000, 2) < 40_000


@pytest.mark.parametrize(
    "piece",
    [
        "Output the thinking process in <think>", "Please select the correct answer by writing the letter ", " ", "\n",
        "### Output Format Now, it's your turn!", "Now, it's your turn! ### Output Format", "<image>", " <image> ",
        "<image", "<|vision_start|>", "tags.", "Output the thinking process in <think> tags. ", "<think>", "<answer>",
        "</answer>", "<image 1", "Please output the answer only with a sequence of functions ", "\ud83d", "nan",
    ],
)  # fmt: skip
def test_long_texts_are_read_in_linear_time(folder, piece):
    """Of much of what one of the readers looks for."""
    text = piece * (300_000 // len(piece))
    rows = ({"id": "a", "image": [], "problem": text, "answer": "4", "cot": text},
            {"id": "b", "image": [], "messages": [{"role": "user", "content": text + "?"},
                                                  {"role": "assistant", "content": "x" + text}]})  # fmt: skip
    for number, record in enumerate(rows):
        within(2, read_one, as_json(record), Pictures((folder,)), number)


def test_folders_of_mutants_end_in_records_or_in_one_error_of_the_project(folder):
    rng = random.Random(3)
    for number in range(60):
        path = folder / f"mutants.{rng.choice(('json', 'jsonl'))}"
        rows = [as_json(mutant(rng)) for _ in range(rng.randint(0, 30))]
        text = b"\n".join(rows) if path.suffix == ".jsonl" else b"[" + b",".join(rows) + b"]"
        path.write_bytes(damaged(text, rng) if text and rng.random() < 0.5 else text)
        try:
            records = read_records(folder, "vqa")
            assert all(problem.file == path.name for problem in records.problems)
            assert len({example.id for example in records.examples}) == len(records.examples)
            json.dumps([dict(example.metadata) for example in records.examples])
        except RecordError as error:
            assert str(error).startswith("no usable record in") and number >= 0
        path.unlink()
