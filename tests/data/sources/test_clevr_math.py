"""CLEVR-Math's layout: real templates and pictures of CLEVR, questions counted by eye."""

import json
import re
import shutil
import zipfile

import pytest

from rrft_jax.data.sources.common import read_part
from rrft_jax.data.sources.registry import find_parts
from tests.data.sources.real import CLEVR_MATH, write_json

VALUES = {"S": "cube|sphere|cylinder|object", "Z": "small|large", "M": "metal|rubber",
          "C": "gray|red|blue|green|brown|purple|cyan|yellow"}  # fmt: skip


def template(text: str) -> str:
    """A published template as a pattern: <C2> is a colour, X a number."""
    parts = re.split(r"(<[A-Z]\d?>|\bX\b)", text)
    return "".join(r"\d+" if p == "X" else f"(?:{VALUES[p[1]]})" if p.startswith("<") else re.escape(p) for p in parts)


def test_questions_and_their_templates():
    (part,) = find_parts("clevr_math", CLEVR_MATH).parts
    assert (part.task, part.split, part.count) == ("visual_counting", "train", 5)
    examples = read_part(part, strict=True).examples
    assert [e.answer for e in examples] == ["4", "1", "7", "7", "1"]
    assert examples[0].id == "clevr-math-train-000000" and examples[0].cot is None
    assert [e.images[0].rpartition("/")[2] for e in examples] == ["img1.png"] * 3 + ["img2.png"] * 2
    for example in examples:
        file = (CLEVR_MATH / "templates" / f"{example.metadata['question_type']}.json").read_text()
        # Not all of these files are valid JSON.
        lists = re.findall(r'"text": \[(.*?)\]', file, re.DOTALL)
        texts = [text for entry in lists for text in re.findall(r'"(.*?)"', entry)]
        assert any(re.fullmatch(template(text), example.problem) for text in texts), example.problem


def test_pictures_of_the_published_zip(tmp_path):
    shutil.copy(CLEVR_MATH / "clevr-math-train.json", tmp_path)
    with zipfile.ZipFile(tmp_path / "CLEVR_v1.0.zip", "w") as archive:
        for path in (CLEVR_MATH / "CLEVR_v1.0" / "images" / "train").iterdir():
            archive.write(path, f"CLEVR_v1.0/images/train/{path.name}")
    (part,) = find_parts("clevr_math", tmp_path).parts
    example = read_part(part, strict=True).examples[0]
    published = CLEVR_MATH / "CLEVR_v1.0" / "images" / "train" / "img1.png"
    assert example.images[0].read() == published.read_bytes()


def test_two_files_of_one_split(tmp_path):
    shutil.copytree(CLEVR_MATH, tmp_path, dirs_exist_ok=True)
    shutil.copy(CLEVR_MATH / "clevr-math-train.json", tmp_path / "clevr-math-multihop-train.json")
    (part,) = find_parts("clevr_math", tmp_path).parts
    names = [f"clevr-math-{kind}train-{i:06d}" for kind in ("multihop-", "") for i in range(5)]
    assert part.count == 10 and [e.id for e in read_part(part, strict=True).examples] == names


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"answer": None}, "empty answer", "answer is null; it must be the number"),
        ({"answer": True}, "wrong type", "answer is a boolean"),
        ({"answer": "many"}, "wrong type", "answer is a string"),
        ({"answer": "\u00b2"}, "wrong type", "answer is a string"),  # a superscript is a digit to Python, but no number
        ({"question": " "}, "empty problem", "has no question"),
        ({"image_filename": "img9.png"}, "missing image", "'train/img9.png' is not at"),
        ({"image_filename": None}, "missing image", "no image_filename"),
    ],
)
def test_a_bad_question_is_named(tmp_path, changes, kind, words):
    shutil.copytree(CLEVR_MATH / "CLEVR_v1.0", tmp_path / "CLEVR_v1.0")
    value = json.loads((CLEVR_MATH / "clevr-math-train.json").read_text())
    value["questions"][2] |= changes
    write_json(tmp_path / "clevr-math-train.json", value)
    records = read_part(find_parts("clevr_math", tmp_path).parts[0])
    assert len(records.examples) == 4
    (problem,) = records.problems
    assert problem.kind == kind and str(problem).startswith("clevr-math-train.json, record 2: ")
    assert words in problem.message


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no file \*-train.json"):
        find_parts("clevr_math", tmp_path)
    (tmp_path / "clevr-math-val.json").write_text("{")
    write_json(tmp_path / "clevr-math-test.json", [1])
    problems = {p.split: read_part(p).problems for p in find_parts("clevr_math", tmp_path).parts}
    assert problems["validation"][0].kind == "bad JSON"
    assert 'holds no list "questions"' in problems["test"][0].message
