"""Readers of boxes and points: small files in the published forms, whole and damaged; what they give, tasks accept."""

import json

import numpy as np
import pytest
from PIL import Image

from rrft_jax.data.example import Example
from rrft_jax.data.sources.registry import find_parts
from rrft_jax.tasks.records import taken
from rrft_jax.tasks.registry import get_task
from rrft_jax.tasks.task import Prediction


@pytest.fixture
def folder(tmp_path):
    Image.fromarray(np.zeros((50, 100, 3), np.uint8)).save(tmp_path / "a.png")
    return tmp_path


def read(source, folder, **options):
    """(examples, problems as text) of every part, each example accepted by its task."""
    examples, problems = [], []
    for part in find_parts(source, folder, **options).parts:
        items = list(part.items())
        assert len(items) <= part.count
        good = [item for item in items if isinstance(item, Example)]
        kept, refused = taken(get_task(part.task), good)
        assert not refused
        examples += kept
        problems += [str(problem) for item in items if not isinstance(item, Example) for problem in item]
    return examples, problems


def write(folder, name, value):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(value))


def test_visual_rft(folder):
    box = "[{'Position': [10, 20, 300, 400], 'Confidence': 1}]"
    problem = "Detect all objects belonging to the category 'cat' in the image, and ..."
    write(folder, "det.json", [
        {"image": "a.png", "problem": problem, "solution": f"<answer>{box}</answer>"}, {"image": "b.png"}, "x",
    ])  # fmt: skip
    write(folder, "cls.json", [{"image": "a.png", "problem": "What?", "solution": "<answer>rose</answer>"}])
    write(folder, "lisa.json", [{"image": "a.png", "problem": "Q", "solution": "<answer> (1,2),(3,4) </answer>"}])
    examples, problems = read("visual_rft", folder)
    found = {example.task: example for example in examples}
    assert found["detection"].answer == box and found["detection"].problem == problem
    assert (found["detection"].metadata["category"], found["detection"].metadata["image_id"]) == ("cat", "a.png")
    assert found["classification"].answer == "rose" and found["reasoning_grounding"].answer == "(1,2),(3,4)"
    assert any("det.json, record 1" in p for p in problems) and any("record 2: is a string" in p for p in problems)


def test_coco_and_lvis(folder):
    def box(number, image, category, bbox, **more):
        return {"id": number, "image_id": image, "category_id": category, "bbox": bbox, **more}

    size = {"width": 100, "height": 50}
    write(folder, "annotations/instances_val2017.json", {
        "images": [
            {"id": 1, "file_name": "a.png", "neg_category_ids": [4], **size}, {"id": 2, "file_name": "b.png", **size},
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}, {"id": 5, "name": "cup"}],
        "annotations": [
            box(1, 1, 3, [10, 5, 40, 20]), box(2, 1, 3, [0, 0, 100, 50], iscrowd=1), box(3, 2, 3, [1, 1, 5, 5]),
            box(4, 1, 5, [90, 5, 40, 20]), box(5, 1, 9, [1, 1, 2, 2]),
        ],
    })  # fmt: skip
    for categories, wanted in {"dog": ["dog"], "!cat, cup": ["dog"], "cat,dog": ["cat", "dog"]}.items():
        found, _ = read("coco", folder, categories=categories)
        assert sorted(example.metadata["category"] for example in found) == wanted
    with pytest.raises(ValueError, match="--categories=cats: there is no 'cats'; did you mean cat"):
        read("coco", folder, categories="cats")
    examples, problems = read("coco", folder)
    cat, dog = sorted(examples, key=lambda example: example.metadata["category"])
    assert cat.answer == "[{'Position': [100, 100, 500, 500], 'Confidence': 1}]" and dog.answer == "No Objects"
    assert cat.problem.startswith("Detect all objects belonging to the category 'cat' in the image")
    assert len(problems) == 3
    for said in ("image 'b.png' is not at", "annotation 4: bbox [90, 5, 40, 20] has no area or lies outside",
                 "image 1, category None: its image or its category"):  # fmt: skip
        assert any(said in problem for problem in problems), problems


def test_lisa(folder):
    target = {"label": "target", "points": [[10, 5], [50, 25], [20, 20]]}
    write(folder, "a.json", {"text": ["what is it", "the thing"], "is_sentence": True, "shapes": [target]})
    examples, problems = read("lisa", folder)
    assert [example.answer for example in examples] == ["(100,100),(500,500)"] * 2 and not problems
    write(folder, "a.json", {"text": ["what"], "shapes": [{"label": "target", "points": [[10, 5], [150, 25]]}]})
    assert "outside its picture of 100x50" in read("lisa", folder)[1][0]
    write(folder, "a.json", {"text": ["what"], "shapes": []})
    assert "no shape labelled target" in read("lisa", folder)[1][0]


def test_screenspot(folder):
    good = {"img_filename": "a.png", "bbox": [10, 5, 50, 25], "instruction": "close", "ui_type": "icon", "id": "d_0",
            "img_size": [100, 50]}  # fmt: skip
    write(folder, "desktop.json", [
        good, {**good, "bbox": [10, 5, 50, 60]}, {**good, "img_size": [50, 100]}, {**good, "img_filename": "b.png"},
        {**good, "bbox": [-1, -1, -1, -1]},
    ])  # fmt: skip
    examples, problems = read("screenspot", folder)
    assert [example.answer for example in examples] == ["[100,100,500,500]", "[-1,-1]"]
    assert [problem.split(":")[0] for problem in problems] == [f"desktop.json, record {n}" for n in (1, 2, 3)]
    assert "outside its picture of 100x50" in problems[0] and "its picture has 100x50 pixels" in problems[1]
    write(folder, "desktop.json", [{**good, "platform": "web"}, {**good, "platform": "ios", "bbox": [60, 5, 90, 25]}])
    examples, _ = read("screenspot", folder)
    numbers = get_task("screen").set_metrics([Prediction(example, ("[100,100,500,500]",)) for example in examples])
    assert (numbers["action_acc_ios"], numbers["action_acc_web"], numbers["action_acc"]) == (0.0, 1.0, 0.5)


def test_refspatial(folder):
    mask = np.zeros((50, 100), np.uint8)
    mask[10:21, 40:51] = 255
    Image.fromarray(mask).save(folder / "m.png")
    Image.fromarray(mask[:40]).save(folder / "small.png")
    good = {"id": 7, "object": "cup", "prompt": "Point to the cup.", "suffix": "Answer [(x, y)].", "rgb_path": "a.png",
            "mask_path": "m.png", "category": "location", "step": 2}  # fmt: skip
    write(
        folder, "Location/question.json", [good, {**good, "mask_path": "small.png"}, {**good, "rgb_path": "none.png"}]
    )
    (example,), problems = read("refspatial", folder)
    assert (example.problem, example.answer) == ("Point to the cup. Answer [(x, y)].", "[(0.455, 0.310)]")
    task = get_task("referring")
    inside, outside = ("<answer>[(0.455, 0.310)]</answer>", "<answer>[(0.9, 0.9)]</answer>")
    assert task.set_metrics([Prediction(example, (text,)) for text in (inside, outside, "none")]) == {
        "near": pytest.approx(1 / 3), "mask": pytest.approx(1 / 3), "mask_paper": 0.5,
        "mask_2_steps": pytest.approx(1 / 3),
    }  # fmt: skip
    assert "100x40 pixels and its picture 100x50" in problems[0] and "rgb_path 'none.png'" in problems[1]


@pytest.mark.parametrize(
    "source", ["visual_rft", "coco", "lisa", "screenspot", "refspatial", "android_control", "gui_odyssey"]
)
def test_an_empty_folder_is_told_what_it_should_hold(source, tmp_path):
    with pytest.raises(FileNotFoundError, match="it should hold"):
        find_parts(source, tmp_path)
