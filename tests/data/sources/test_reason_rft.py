"""The published layout: names, the schemas of META, RL, TEST and SFT files, zips and folders, and what is refused."""

import json

import pytest

from rrft_jax.data.decoding import open_image
from rrft_jax.data.pictures import ZipPicture
from rrft_jax.data.records import RecordError
from rrft_jax.data.sources.common import read_part
from rrft_jax.data.sources.reason_rft import classify
from rrft_jax.data.sources.registry import find_parts
from tests.data.sources.real import COUNT, GEO, MOVE, PICTURES, part, published, write_json

VC, SP, ST = "visual_counting", "structure_perception", "spatial_transformation"


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("A1-Spatial-Transformation-train-60k-cot", (ST, "train")),
        ("A2-Structure-Perception-train-4k5-cot", (SP, "train")),
        ("A3-Visual-Counting-train-35k-cot", (VC, "train")),
        ("Visual-Counting-id-test-1k", (VC, "test")),
        ("Visual-Counting-ood-test-1k", (VC, "test_ood")),
        ("Structure-Perception-id-test-820", (SP, "test")),
        ("Structure-Perception-ood-test-800", (SP, "test_ood")),
        ("Spatial-Transformation-id-test-1k", (ST, "test")),
        ("Spatial-Transformation-ood-left-test-1k", (ST, "test_left")),
        ("Spatial-Transformation-ood-right-test-1k", (ST, "test_right")),
        ("clevr_math", (VC, "test")), ("super_clevr", (VC, "test_ood")), ("trance_left", (ST, "test_left")),
        ("geomath", (SP, "test")), ("geometry3k", (SP, "test_ood")),
        # Files that repeat records of the others stay apart.
        ("clevr-math-train-cot-sft-1k6", (VC, "clevr_math_train_cot_sft_1k6")),
        ("trance-train-sft", (ST, "trance_train_sft")), ("GeoQA-train-1500-cot", (SP, "geoqa_train_1500_cot")),
        ("ClevrMath-train-1500-cot", (VC, "clevrmath_train_1500_cot")),
        ("things", ("", "things")),
    ],
)  # fmt: skip
def test_the_name_tells_task_and_split(stem, expected):
    assert classify(stem) == expected


@pytest.mark.parametrize("zipped", [True, False])
def test_the_published_folder(tmp_path, zipped):
    found = find_parts("reason_rft", published(tmp_path, zipped))
    assert found.problems == () and len(found.aside) == 1 and "AI2D-train-1467-cot.json" in found.aside[0]
    assert sorted((p.task, p.split, p.count) for p in found.parts) == [
        (ST, "test", 1), (ST, "test_left", 1), (ST, "test_right", 1), (ST, "train", 1),
        (SP, "test", 1), (SP, "test_ood", 1), (SP, "train", 1),
        (VC, "test", 1), (VC, "test_ood", 1), (VC, "train", 2),
    ]  # fmt: skip
    moved = read_part(part(found, ST, "train"), strict=True).examples[0]
    assert (moved.id, moved.task, moved.answer, moved.cot) == (
        "trance-1", ST, "change_color(2, cyan)", "It is cyan now.",
    )  # fmt: skip
    assert len(moved.images) == 2 and all(isinstance(i, ZipPicture) == zipped for i in moved.images)
    for image, name in zip(moved.images, ("trance/init.png", "trance/fin.png"), strict=True):
        assert open_image(image).tobytes() == open_image(PICTURES[name]).tobytes()
    assert "train_images" in str(moved.images[0])
    assert "test_images" in str(read_part(part(found, ST, "test")).examples[0].images[0])
    test = read_part(part(found, SP, "test")).examples[0]
    assert test.problem == "Find x." and test.metadata["problem_no_prompt"] == "Find it."


def test_only_one_task(tmp_path):
    folder = published(tmp_path)
    write_json(folder / "mine.json", [COUNT | {"id": "mine"}])
    found = find_parts("reason_rft", folder, task=VC)
    assert {(p.task, p.split) for p in found.parts} == {(VC, "train"), (VC, "test"), (VC, "test_ood"), (VC, "mine")}
    assert found.problems == () and any("A1-" in line and "not asked for" in line for line in found.aside)
    (problem,) = find_parts("reason_rft", folder).problems
    assert problem.kind == "unknown task" and "mine.json: its name tells no task" in str(problem)
    assert "--task" in problem.message


def sharegpt(text, said, **more):
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": said}]
    pictures = ["trance/init.png", "trance/fin.png"][: text.count("<image>")]
    return {"images": pictures, "messages": turns} | more


RULES = "Complete the task by the rules. ### Output Format ...\n\nNow, it's your turn!\n\n"
TAIL = " Output the thinking process in <think> </think> and final answer in <answer> </answer> tags.\n"


@pytest.mark.parametrize(
    ("text", "said", "problem", "answer", "cot"),
    [
        ("<image>\n<image>\nHow many are left?", "4", "How many are left?", "4", None),
        ("<image>\nHow many? Output the thinking process in <think> </think> and final answer (number) in <answer> "
         "</answer> tags.", "<think>\nOne, two.\n</think>\n<answer>\n2\n</answer>", "How many?", "2", "One, two."),
        ("<image>\nFind x. Please select the correct answer by writing the letter (A, B, C or D) that precedes your "
         "choice.\nOutput the thinking process in <think> </think> and final answer (chosen letter) in <answer> "
         "</answer> tags.", "<answer>B</answer>", "Find x.", "B", None),
        (f"<image>\n<image>\n{RULES}Attributes: [('0','cube')]{TAIL}", "<think>a</think><answer>\nf(0, b)\n</answer>",
         "Attributes: [('0','cube')]", "f(0, b)", "a"),
    ],
)  # fmt: skip
def test_a_conversation_gives_its_question_answer_and_reasoning(tmp_path, text, said, problem, answer, cot):
    folder = published(tmp_path, files={"trance-train-cot-sft.json": [sharegpt(text, said)]})
    (part,) = find_parts("reason_rft", folder).parts
    (example,) = read_part(part, strict=True).examples
    assert (example.problem, example.answer, example.cot) == (problem, answer, cot)
    assert example.id == "trance-train-cot-sft-000000" and len(example.images) == text.count("<image>")
    assert "messages" not in example.metadata


def test_other_forms(tmp_path):
    old = {"id": "x", "image": "geo/12.png", "conversations": [
        {"from": "human", "value": "<image>Find x."}, {"from": "gpt", "value": "13"}]}  # fmt: skip
    rl = {**GEO, "id": "rl", "solution": "<answer> 13 </answer>"}
    listed = MOVE | {"id": "listed", "answer": ["change_color(2, cyan)", "change_size(0, large)"]}
    folder = published(tmp_path, files={"geo-math-train-sft.json": [old, rl], "trance.json": [listed]})
    found = find_parts("reason_rft", folder)
    first, second = read_part(part(found, SP, "geo_math_train_sft"), strict=True).examples
    assert (first.problem, first.answer, second.answer) == ("Find x.", "13", "13")
    (moved,) = read_part(part(found, ST, "test"), strict=True).examples
    assert moved.answer == "change_color(2, cyan), change_size(0, large)"


BAD = [
    (COUNT | {"id": "lost", "image": "clevr/none.png"}, "missing image", "test_images.zip; restore it"),
    (COUNT | {"id": "empty", "answer": " "}, "empty answer", "fill it in or remove the record"),
    (COUNT, "duplicate id", "already used by A3-Visual-Counting-train-35k-cot.json, record 0"),
    ({**sharegpt("q", "a"), "messages": [{"role": "user", "content": "q"}]}, "missing field", "ends with the user"),
    ({**sharegpt("q", "a"), "messages": [{"role": ["user"], "content": "q"}]}, "unknown role", "turn 1 is of a list"),
    ("text", "wrong type", "is a string where an object"),
]


@pytest.mark.parametrize(("bad", "kind", "words"), BAD)
def test_a_bad_record_is_named_and_skipped(tmp_path, bad, kind, words):
    name = "A3-Visual-Counting-train-35k-cot.json"
    folder = published(tmp_path, files={name: [COUNT, bad, COUNT | {"id": "last"}]})
    (part,) = find_parts("reason_rft", folder).parts
    records = read_part(part)
    assert [e.id for e in records.examples] == ["clevr-math-1", "last"]
    (problem,) = records.problems
    assert (problem.file, problem.kind) == (name, kind)
    assert str(problem).startswith(f"{name}, record 1") and words in str(problem)
    with pytest.raises(RecordError, match="1 problems in train"):
        read_part(part, strict=True)


def test_bad_files(tmp_path):
    folder = published(tmp_path, files={"train_jsons/A2-Structure-Perception-train-4k5-cot.json": [GEO]})
    (folder / "train_jsons" / "A3-Visual-Counting-train-35k-cot.json").write_text('[{"id": 1,')
    write_json(folder / "test_jsons" / "Visual-Counting-id-test-1k.json", {"data": []})
    found = find_parts("reason_rft", folder)
    (cut,) = read_part(part(found, VC, "train")).problems
    assert cut.kind == "bad JSON" and "not valid JSON at line 1" in cut.message
    (wrong,) = read_part(part(found, VC, "test")).problems
    assert "holds an object where a list of records belongs" in wrong.message
    (folder / "train_images.zip").write_bytes((folder / "train_images.zip").read_bytes()[:1000])
    with pytest.raises(ValueError, match="train_images.zip: not a complete zip archive .* get it again"):
        find_parts("reason_rft", folder)


def test_missing_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="none is no folder; it should hold train_jsons"):
        find_parts("reason_rft", tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="holds no JSON file"):
        find_parts("reason_rft", tmp_path)
    write_json(tmp_path / "trance.json", [MOVE])
    with pytest.raises(FileNotFoundError, match="--image_root=.*neither a folder nor a zip"):
        find_parts("reason_rft", tmp_path, image_root="pictures")


def test_pictures_elsewhere(tmp_path):
    folder = published(tmp_path / "published")
    (folder / "train_images.zip").rename(tmp_path / "all.zip")
    (folder / "test_images.zip").unlink()
    write_json(folder / "trance.json", json.loads(json.dumps([MOVE | {"id": "other"}])))
    root = str(tmp_path / "all.zip")
    (record,) = read_part(part(find_parts("reason_rft", folder, image_root=root), SP, "train")).problems
    assert record.kind == "missing image" and f"in {root}" in record.message  # its top folder has another name
    root = str(tmp_path / "train_images.zip")
    (tmp_path / "all.zip").rename(root)
    assert not read_part(part(find_parts("reason_rft", folder, image_root=root), SP, "train"), strict=True).problems
