"""How the questions of a benchmark are asked: generated and published ones, and what a checkpoint was trained with."""

import dataclasses
import json
from pathlib import Path

import pytest

from rrft_jax.data.sources.registry import SOURCES, find_parts
from rrft_jax.data.tfds_builder import build
from rrft_jax.evaluation.benchmarks import benchmarks, choose_benchmarks
from rrft_jax.evaluation.endpoint import messages_of
from rrft_jax.evaluation.sources import of_folder, prompt_of, questions, template_digest
from rrft_jax.rollout.questions import to_questions
from tests.data.sources.real import PICTURES, published

BY_NAME = {b.name: b for b in benchmarks()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(published(tmp_path_factory.mktemp("data")))


@pytest.mark.parametrize(
    ("name", "prompt", "said"),
    [
        ("counting_id", "zero_shot", "Please answer in Arabic numerals."),
        ("counting_ood", "cot", "final answer (number) in <answer>"),
        ("structure_ood", "cot", "final answer (number or choice) in <answer>"),
        ("structure_ood", "zero_shot", "respond with A. Do not include"),
        ("spatial_left", "cot", "### Output Format"),
        ("spatial_id", "caption_eval", "Output the summary process in <summary>"),
    ],
)
def test_published_questions_have_the_published_prompts(folder, name, prompt, said):
    examples, ask, about = questions(BY_NAME[name], folder, 1, prompt)
    assert len(examples) == 1 and said in ask(examples[0]) and examples[0].problem in ask(examples[0])
    assert about["source"] == "published" and about["limit"] == 1


def test_generated_ones_have_the_twins_prompts_and_do_not_depend_on_the_limit():
    examples, ask, about = questions(BY_NAME["spatial_right"], "", 2, "cot")
    assert "### Output Format" not in ask(examples[0]) and examples[0].id != examples[1].id
    assert about == {"source": "generated", "limit": 2, "skipped": []}
    assert questions(BY_NAME["spatial_right"], "", 1, "cot")[0][0].id == examples[0].id


def test_a_workdir_is_asked_as_it_was_trained(tmp_path, monkeypatch):
    for trained, asked in (("cot", "cot"), ("caption", "caption_eval")):
        (tmp_path / "versions.json").write_text("{}")
        (tmp_path / "config.json").write_text(json.dumps({"task": "spatial_transformation", "prompt": trained}))
        assert prompt_of(str(tmp_path)) == asked
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert prompt_of(f"~/{tmp_path.name}") == "caption_eval"
    assert prompt_of("nano") == prompt_of(str(Path(tmp_path / "elsewhere"))) == "zero_shot"


def test_an_edited_template_file_is_another_prompt(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("{Question} Count.")
    once = template_digest(str(file))
    assert once == template_digest(str(file)) and template_digest("cot") is template_digest("COUNT_COT") is None
    file.write_text("{Question} Think.")
    assert template_digest(str(file)) != once


def test_a_folder_without_the_files_is_named_by_its_flag(tmp_path):
    with pytest.raises(FileNotFoundError, match="--data_dir=.* holds no JSON file"):
        questions(BY_NAME["counting_id"], str(tmp_path), 0, "cot")
    (tmp_path / "Visual-Counting-id-test-1k.json").write_text("[]")
    with pytest.raises(ValueError, match="has no Visual-Counting-ood-test-1k.json for counting_ood; it holds .* test"):
        questions(BY_NAME["counting_ood"], str(tmp_path), 0, "cot")


def own(folder, name="mine.jsonl", **fields):
    picture = str(PICTURES["clevr/img1.png"])
    rows = [{"id": id, "image": picture, "problem": "How many?", "answer": "5"} | fields for id in "ab"]
    text = "".join(json.dumps(row) + "\n" for row in rows) if name.endswith("jsonl") else json.dumps(rows)
    (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.json", "test.json"])
def test_records_of_ones_own_are_one_benchmark_of_their_task(tmp_path, name):
    """Whatever their file is called: the paper's numbers are of other questions."""
    folder = str(own(tmp_path, name))
    for asked, column in (("visual_counting", "counting_records"), ("all", "vqa"), ("vqa", "vqa")):
        (benchmark,) = of_folder(choose_benchmarks(asked), asked, folder)
        examples, ask, about = questions(benchmark, folder, 0, "zero_shot")
        assert benchmark.name == column and [e.id for e in examples] == ["a", "b"]
        assert about["source"] == "records" and "How many?" in ask(examples[0])
    named = choose_benchmarks("counting_id")
    assert of_folder(named, "counting_id", folder) == named  # who names it means it
    (benchmark,) = of_folder(choose_benchmarks("all"), "all", str(own(tmp_path, name, task="counting")))
    assert benchmark.name == "counting_records"


def test_records_with_names_and_pictures_of_their_own_still_name_their_task(tmp_path):
    row = {"id": "a", "image": "img1.png", "asked": "How many?", "answer": "5", "task": "counting"}
    (tmp_path / "mine.jsonl").write_text(json.dumps(row))
    where = str(tmp_path / "mine.jsonl"), str(PICTURES["clevr/img1.png"].parent), ("problem=asked",)
    (benchmark,) = of_folder(choose_benchmarks("all"), "all", *where)
    assert benchmark.name == "counting_records"


def test_whatever_a_training_reads_is_evaluated(tmp_path):
    """A file, a folder with splits, image roots, and a data set prepared of any source."""
    found = find_parts("jsonl", own(tmp_path), task="visual_counting")
    where, *_ = build(SOURCES["jsonl"], found.parts, tmp_path / "out", tmp_path)
    for place in (where, tmp_path / "out", tmp_path / "mine.jsonl"):
        (benchmark,) = of_folder(choose_benchmarks("visual_counting"), "visual_counting", str(place))
        assert len(questions(benchmark, str(place), 0, "cot").examples) == 2
    (tmp_path / "split").mkdir()
    for split in ("train", "test"):
        own(tmp_path / "split", f"{split}.jsonl", answer=split)
    folder = str(tmp_path / "split")
    asked = lambda split: questions(benchmark, folder, 0, "cot", split=split).examples[0].answer  # noqa: E731
    assert [asked(split) for split in ("", "train", "test")] == ["test", "train", "test"]
    own(tmp_path / "split", "test.jsonl", image="img1.png")
    root = str(PICTURES["clevr/img1.png"].parent)
    assert len(questions(benchmark, folder, 0, "cot", image_root=root).examples) == 2
    with pytest.raises(ValueError, match="--split=test is of records of your own"):
        questions(BY_NAME["counting_id"], folder, 0, "cot", split="test")


def test_the_published_files_stay_the_columns_of_the_paper(folder, tmp_path):
    for asked in ("all", "visual_counting", "structure_perception"):
        assert of_folder(choose_benchmarks(asked), asked, folder) == choose_benchmarks(asked)
        assert of_folder(choose_benchmarks(asked), asked, "") == choose_benchmarks(asked)


def test_a_conversation_is_asked_with_all_that_was_said(tmp_path):
    said = [("system", "Count."), ("user", "<image>Q1"), ("assistant", "1"), ("user", "Q2"), ("assistant", "2")]
    turns = [{"role": role, "content": text} for role, text in said]
    own(tmp_path, messages=turns, problem=None, answer=None)
    (benchmark,) = of_folder(choose_benchmarks("vqa"), "vqa", str(tmp_path))
    examples, ask, _ = questions(benchmark, str(tmp_path), 1, "ans")
    (question,) = to_questions(examples, ask)
    system, first, answer, last = messages_of(question)
    assert system == {"role": "system", "content": "Count."} and answer == {"role": "assistant", "content": "1"}
    assert [part["type"] for part in first["content"]] == ["image_url", "text"] and first["content"][1]["text"] == "Q1"
    assert last["role"] == "user" and last["content"][0]["text"].startswith("Q2") and len(last["content"]) == 1


def test_prepared_questions_are_the_published_ones_and_other_data_is_no_benchmark(folder, tmp_path):
    for name in ("reason_rft", "elsewhere"):
        parts = [p for p in find_parts("reason_rft", folder).parts if p.task == "structure_perception"]
        build(dataclasses.replace(SOURCES["reason_rft"], name=name), parts, tmp_path / name, folder)
    benchmark = BY_NAME["structure_ood"]
    (raw,), ask, _ = questions(benchmark, folder, 0, "cot")
    (ours,), ask_ours, _ = questions(benchmark, str(tmp_path / "reason_rft"), 0, "cot")
    assert (ours.id, ask_ours(ours), ours.answer, len(ours.images)) == (raw.id, ask(raw), raw.answer, len(raw.images))
    with pytest.raises(ValueError, match="was not prepared by --source=reason_rft, so structure_ood is not there"):
        questions(benchmark, str(tmp_path / "elsewhere"), 0, "cot")
