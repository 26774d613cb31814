"""How the questions of a benchmark are asked: generated and published ones, and what a checkpoint was trained with."""

import dataclasses
import json
from pathlib import Path

import pytest

from rrft_jax.data.sources.registry import SOURCES, find_parts
from rrft_jax.data.tfds_builder import build
from rrft_jax.evaluation.benchmarks import benchmarks
from rrft_jax.evaluation.sources import prompt_of, questions, template_digest
from tests.data.sources.real import published

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
