"""Which task the records of a folder are of, and what a task does with records of another."""

import json

import pytest

from rrft_jax.data.example import Example
from rrft_jax.data.sources.registry import SOURCES, find_parts
from rrft_jax.data.tfds_builder import build
from rrft_jax.tasks.records import named_task, taken, task_of_folder
from rrft_jax.tasks.registry import get_task
from tests.data.sources.real import published

FIRST = "visual_counting"
RECORD = {"image": [], "problem": "How many?", "answer": "3"}


def write(folder, *tasks, file="records.json"):
    folder.mkdir(exist_ok=True)
    named = [RECORD | {"id": f"r{n}"} | ({"task": task} if task else {}) for n, task in enumerate(tasks)]
    (folder / file).write_text(json.dumps(named))
    return folder


@pytest.mark.parametrize(
    "folder, tasks, file, task",
    [
        ("mine", ["", ""], "records.json", ""),
        ("mine", ["", "counting"], "records.json", "visual_counting"),
        ("mine", ["TRANCE"], "A3-Visual-Counting-train-35k.json", "spatial_transformation"),  # fields before names
        ("mine", ["painting"], "A3-Visual-Counting-train-35k.json", "visual_counting"),
        ("super-clevr", [""], "records.json", "visual_counting"),
        ("entrance", [""], "records.json", ""),
        ("mine", [""], "ok-vqa_train.json", "vqa"),
    ],
)
def test_a_folder_names_its_task_by_its_records_its_files_or_itself(tmp_path, folder, tasks, file, task):
    assert task_of_folder(write(tmp_path / folder, *tasks, file=file), FIRST)[0] == task


def test_records_of_several_tasks_are_not_guessed_about(tmp_path):
    with pytest.raises(ValueError, match="name several tasks, visual_counting, vqa: set config.task to one of them"):
        task_of_folder(write(tmp_path / "mine", "visual_counting", "vqa"), FIRST)


def test_a_prepared_folder_is_of_what_it_was_prepared_for(tmp_path):
    out = tmp_path / "out"
    for task in ("vqa", FIRST):
        found = find_parts("jsonl", lines(tmp_path), task=task)
        where, *_ = build(SOURCES["jsonl"], found.parts, out, tmp_path)
        assert task_of_folder(where, FIRST)[0] == task_of_folder(out, FIRST)[0] == task
    with pytest.raises(ValueError, match="several prepared data sets"):
        task_of_folder(out, "structure_perception")


def test_of_the_published_folder_the_preferred_task_is_taken(tmp_path):
    folder = published(tmp_path)
    assert task_of_folder(folder, FIRST)[0] == FIRST
    with pytest.raises(ValueError, match="files of .* are of several tasks"):
        task_of_folder(folder, "vqa")


def lines(folder):
    (folder / "mine.jsonl").write_text(json.dumps(RECORD | {"id": "a"}))
    return folder / "mine.jsonl"


def test_a_record_that_names_another_task_is_refused_and_any_other_field_means_nothing():
    task = get_task("visual_counting")
    said = [None, "", "visual_counting", "counting", "clevr-math", "painting", 7, "spatial", "VQA"]
    examples = [Example(f"e{n}", task.name, "?", "3", metadata={"task": x}) for n, x in enumerate(said)]
    found, refused = taken(task, examples)
    assert list(found) == examples and list(refused) == ["e7", "e8"]
    assert refused["e7"] == (
        "its task is spatial, not visual_counting: correct the record, or set config.task=spatial_transformation"
    )
    assert named_task("") == named_task(None) == ""
