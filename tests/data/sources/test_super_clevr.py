"""Super-CLEVR's layout on three real scenes: made questions are those of the fixture, published ones are numbers."""

import json
import shutil
import zipfile

import pytest

from rrft_jax.data.sources.common import read_part
from rrft_jax.data.sources.registry import find_parts
from tests.data.sources.real import SUPER_CLEVR, part, write_json

TASK = "visual_counting"
PUBLISHED = [
    {"question": "How many small matte articulated buss are behind the road bike?", "answer": 0},
    {"question": "There is a road bike; what number of tiny gray objects are in front of it?", "answer": 1},
    {"question": "Are there any large green objects in front of the regular bus?", "answer": False},
    {"question": "What color is the large bus?", "answer": "purple"},
]


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(SUPER_CLEVR / "scenes", tmp_path / "scenes")
    shutil.copytree(SUPER_CLEVR / "images", tmp_path / "images")
    common = {"image_filename": "superCLEVR_new_000002.png", "template_filename": "one_hop.json"}
    write_json(tmp_path / "superCLEVR_questions_5.json", {"questions": [q | common for q in PUBLISHED]})
    return tmp_path


def test_made_questions_are_those_of_the_example_folder(folder):
    made = read_part(part(find_parts("super_clevr", folder), TASK, "train"), strict=True).examples
    expected = json.loads((SUPER_CLEVR / "records.json").read_text())
    assert [(e.id, e.problem, e.answer, e.cot) for e in made] == [
        (r["id"], r["problem"], r["answer"], r["cot"]) for r in expected
    ]
    fewer = part(find_parts("super_clevr", folder, per_scene=2), TASK, "train")
    assert len(read_part(fewer).examples) == fewer.count == 6


def test_published_questions_with_a_number(folder):
    published = read_part(part(find_parts("super_clevr", folder), TASK, "train_questions"), strict=True).examples
    assert [(e.problem, e.answer) for e in published] == [(q["question"], str(q["answer"])) for q in PUBLISHED[:2]]
    assert published[0].metadata["question_type"] == "one_hop"


def test_one_file_of_scenes_and_a_zip_and_the_splits(folder):
    scenes = [json.loads(path.read_text()) for path in sorted((folder / "scenes").iterdir())]
    names = ["superCLEVR_new_019999.png", "superCLEVR_new_020000.png", "superCLEVR_new_025000.png"]
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for scene, name in zip(scenes, names, strict=True):
            archive.write(folder / "images" / scene["image_filename"], f"images/{name}")
            scene["image_filename"] = name
    shutil.rmtree(folder / "scenes")
    shutil.rmtree(folder / "images")
    (folder / "superCLEVR_questions_5.json").unlink()
    write_json(folder / "superCLEVR_scenes.json", {"scenes": scenes})
    found = find_parts("super_clevr", folder)
    assert {p.split: len(read_part(p, strict=True).examples) for p in found.parts} == {
        "train": 16, "validation": 16, "test": 16,
    }  # fmt: skip


def test_what_is_wrong_is_named(folder):
    first, second, third = sorted((folder / "scenes").iterdir())
    first.write_text("{")
    scene = json.loads(second.read_text())
    scene["objects"][0]["shape"] = "tank"
    write_json(second, scene)
    write_json(third, json.loads(third.read_text()) | {"image_filename": "lost.png"})
    questions = json.loads((folder / "superCLEVR_questions_5.json").read_text())
    questions["questions"][0]["answer"] = None
    write_json(folder / "superCLEVR_questions_5.json", questions)
    found = find_parts("super_clevr", folder)
    assert [p.kind for p in found.problems] == ["bad JSON"] and found.problems[0].file == first.name
    shape, picture = read_part(part(found, TASK, "train")).problems
    assert shape.kind == "unusable scene" and "unknown shape 'tank'" in shape.message and shape.file == second.name
    assert picture.kind == "missing image" and "lost.png" in picture.message
    (empty,) = read_part(part(found, TASK, "train_questions")).problems
    assert empty.kind == "empty answer" and empty.record == "record 0"


@pytest.mark.parametrize("answer", ["three", True, 2.5, [3]])
def test_a_count_that_is_not_in_digits_is_named_and_not_passed_by(folder, answer):
    questions = [PUBLISHED[0], PUBLISHED[1] | {"answer": answer}, *PUBLISHED[2:]]
    common = {"image_filename": "superCLEVR_new_000002.png"}
    write_json(folder / "superCLEVR_questions_5.json", {"questions": [q | common for q in questions]})
    published = part(find_parts("super_clevr", folder), TASK, "train_questions")
    records = read_part(published)
    assert published.count == 2 and [e.answer for e in records.examples] == ["0"]
    (wrong,) = records.problems
    assert (wrong.kind, wrong.record) == ("wrong answer", "record 1") and repr(answer) in wrong.message
