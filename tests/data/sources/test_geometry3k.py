"""Geometry3K's layout on three real problems."""

import json
import shutil

import pytest

from rrft_jax.data.sources.common import read_part
from rrft_jax.data.sources.registry import find_parts
from tests.data.sources.real import GEOMETRY3K, write_json


@pytest.fixture
def folder(tmp_path):
    for path in GEOMETRY3K.iterdir():
        if path.is_dir():
            shutil.copytree(path, tmp_path / path.name)
    return tmp_path


def test_letters_and_numbers():
    (part,) = find_parts("geometry3k", GEOMETRY3K).parts
    assert (part.task, part.split, part.count) == ("structure_perception", "train", 3)
    examples = read_part(part, strict=True).examples
    assert [(e.id, e.answer) for e in examples] == [
        ("geometry3k-12", "B"),
        ("geometry3k-15", "C"),
        ("geometry3k-17", "D"),
    ]
    assert examples[0].problem == "Find x. Choices: A. 12 B. 13 C. 14 D. 15"
    assert examples[1].problem == "Find y. Choices: A. 5 B. 5 \\sqrt { 2 } C. 5 \\sqrt { 3 } D. 10"
    assert examples[1].metadata["precise_value"][2] == pytest.approx(75**0.5)
    (part,) = find_parts("geometry3k", GEOMETRY3K, answers="number").parts
    numbers = read_part(part, strict=True).examples
    assert [e.answer for e in numbers] == ["13", "5\\sqrt{3}", "120"]
    assert numbers[0].problem == "Find x."


def test_folders_of_splits_and_a_problem_without_choices(folder):
    for number, split in ((12, "train"), (15, "val"), (17, "test")):
        (folder / split).mkdir()
        (folder / str(number)).rename(folder / split / str(number))
    path = folder / "test" / "17" / "data.json"
    write_json(path, json.loads(path.read_text()) | {"choices": [], "answer": 120})
    parts = {p.split: read_part(p, strict=True).examples for p in find_parts("geometry3k", folder).parts}
    assert {split: [e.id for e in examples] for split, examples in parts.items()} == {
        "train": ["geometry3k-12"], "validation": ["geometry3k-15"], "test": ["geometry3k-17"],
    }  # fmt: skip
    assert parts["test"][0].answer == "120" and "Choices" not in parts["test"][0].problem


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"answer": "E"}, "wrong answer", "'E' is the letter of none of its 4 choices"),
        ({"answer": ""}, "empty answer", "answer is empty"),
        ({"problem_text": ""}, "empty problem", "problem_text is empty"),
        ({"choices": "12"}, "wrong type", "choices is no list"),
        ({"choices": list("123456789")}, "wrong type", "has 9 choices, more than 8"),
        ({"id": 12}, "duplicate id", "already used by 12/data.json"),
    ],
)
def test_a_bad_problem_is_named(folder, changes, kind, words):
    path = folder / "15" / "data.json"
    write_json(path, json.loads(path.read_text()) | changes)
    records = read_part(find_parts("geometry3k", folder).parts[0])
    assert [e.id for e in records.examples] == ["geometry3k-12", "geometry3k-17"]
    (problem,) = records.problems
    assert (problem.file, problem.kind) == ("15/data.json", kind) and words in problem.message


def test_a_choice_that_says_nothing_is_no_answer(folder):
    path = folder / "15" / "data.json"
    write_json(path, json.loads(path.read_text()) | {"compact_choices": ["5", "", " ", "10"]})
    assert read_part(find_parts("geometry3k", folder).parts[0]).problems == ()
    (problem,) = read_part(find_parts("geometry3k", folder, answers="number").parts[0]).problems
    assert problem.kind == "empty answer" and "choice C is empty" in problem.message


def test_bad_files(folder, tmp_path_factory):
    (folder / "12" / "data.json").write_text("nothing")
    (folder / "15" / "img_diagram.png").unlink()
    (folder / "17" / "data.json").write_text("[]")
    bad, lost, array = read_part(find_parts("geometry3k", folder).parts[0]).problems
    assert bad.kind == "bad JSON" and bad.file == "12/data.json"
    assert array.kind == "wrong type" and array.file == "17/data.json"
    assert lost.kind == "missing image" and "15/img_diagram.png" in lost.message
    with pytest.raises(FileNotFoundError, match="holds no <id>/data.json"):
        find_parts("geometry3k", tmp_path_factory.mktemp("empty"))
    with pytest.raises(ValueError, match="--answers=words is none of letter, number"):
        find_parts("geometry3k", folder, answers="words")
