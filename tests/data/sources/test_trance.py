"""TVR's layout on the real sample, in its three views."""

import json
import shutil

import pytest

from rrft_jax.data.sources.common import read_part
from rrft_jax.data.sources.registry import find_parts
from tests.data.sources.real import TRANCE, part, write_json

TASK = "spatial_transformation"
ANSWER = "change_color(2, cyan), change_position(2, behind), change_color(4, brown)"


@pytest.fixture
def sample():
    return json.loads((TRANCE / "example.json").read_text())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "image").mkdir()
    for path in TRANCE.glob("*.png"):
        shutil.copy(path, tmp_path / "image")
    return tmp_path


def lines(folder, *samples):
    text = "".join((s if isinstance(s, str) else json.dumps(s)) + "\n" for s in samples)
    (folder / "data.jsonl").write_text(text)
    return folder


def test_the_real_sample_in_three_views():
    found = find_parts("trance", TRANCE)  # properties.json, which is no sample, is passed by
    assert found.problems == ()
    for split, view in (("train", "C"), ("train_left", "L"), ("train_right", "R")):
        (example,) = read_part(part(found, TASK, split), strict=True).examples
        assert example.id == f"trance-000000-{view}" and example.answer == ANSWER
        assert example.problem.startswith("The attributes of the initial objects: [('0','cylinder','small','gray',")
        names = [path.rpartition("/")[2] for path in example.images]
        assert names == ["img_000000-init.C.png", f"img_000000-fin.{view}.png"]


def test_lines_and_the_published_split(folder, sample):
    later = json.loads(json.dumps(sample)) | {"idx": 500_000}
    del later["states"][1]["images"]["Camera_Left"]
    found = find_parts("trance", lines(folder, sample, later))
    assert sorted(p.split for p in found.parts) == ["test", "test_right", "train", "train_left", "train_right"]
    assert read_part(part(found, TASK, "test"), strict=True).examples[0].id == "trance-500000-C"


def change(sample, path, value):
    copy = json.loads(json.dumps(sample)) | {"idx": 1}
    *way, last = path
    inner = copy
    for step in way:
        inner = inner[step]
    inner[last] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value", "kind", "words"),
    [
        (["states", 1, "images", "Camera_Center"], "/a/none.png", "missing image", "'none.png' is not at"),
        (["states", 0, "images"], {}, "missing image", "names no initial picture"),
        (["transformations"], [], "empty answer", "has no transformations"),
        (["transformations", 0, "val"], "pink", "wrong type", "transformation 0: color 'pink' is not one of"),
        (["transformations", 0, "obj_idx"], 99, "wrong answer", "changes object 99 of "),
        (["states", 0, "objects", 3, "size"], "huge", "wrong type", "object 3: size 'huge'"),
        (["states", 0, "objects"], 7, "wrong type", "correct or remove the sample"),
        (["idx"], None, "missing field", "has no idx"),
        (["idx"], 0, "duplicate id", "already used by data.jsonl, record 0"),
    ],
)
def test_a_bad_sample_is_named(folder, sample, path, value, kind, words):
    found = find_parts("trance", lines(folder, sample, change(sample, path, value)))
    records = read_part(part(found, TASK, "train"))
    assert [e.id for e in records.examples] == ["trance-000000-C"]
    (problem,) = records.problems
    assert problem.kind == kind and str(problem).startswith("data.jsonl, record 1") and words in problem.message


def test_bad_files(folder, sample):
    found = find_parts("trance", lines(folder, sample, '{"idx": 1', "[]"))
    cut, wrong = found.problems
    assert cut.kind == "bad JSON" and cut.record == "record 1" and "remove line 2" in cut.message
    assert wrong.kind == "wrong type" and "is a list where an object" in wrong.message
    assert len(read_part(part(found, TASK, "train"), strict=True).examples) == 1
    with (folder / "data.jsonl").open("ab") as file:
        file.write(b'{"idx": "\xff"}\n')
    latin = find_parts("trance", folder).problems[-1]
    assert str(latin).startswith("data.jsonl, record 3: not UTF-8 text at byte 9 ") and "remove line 4" in latin.message
    write_json(folder / "more.json", [{"idx": 3}])
    problems = read_part(part(find_parts("trance", folder), TASK, "train")).problems
    assert {(p.file, p.kind) for p in problems} == {("more.json", "empty answer"), ("more.json", "missing field")}


def test_no_sample(tmp_path):
    shutil.copy(TRANCE / "properties.json", tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no sample"):
        find_parts("trance", tmp_path)
