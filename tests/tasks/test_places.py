"""Tasks whose answers are boxes, points and actions: full credit for gold, less for anything else; records; metrics."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rrft_jax.answers.actions import ACTIONS, read_action
from rrft_jax.data.example import Example
from rrft_jax.rewards import reward_set
from rrft_jax.rewards.boxes import Box
from rrft_jax.tasks.detection.average_precision import Query, mean_average_precision
from rrft_jax.tasks.registry import get_task
from rrft_jax.tasks.scenes.extent import from_spans, spans
from rrft_jax.tasks.task import Prediction

ROOT = Path(__file__).parents[2]
NAMES = ("detection", "classification", "grounding", "screen", "navigation", "referring")
CASES = [(name, domain) for name in NAMES for domain in ("in", "out")]
GIOU = ("grounding_giou", "grounding_giou_paper")


@cache
def made(name, domain, index):
    return get_task(name).make(3, index, "test", domain)


def rewards_of(name, texts, example):
    task = get_task(name)
    names = dict.fromkeys((*task.rewards, *task.paper_rewards, task.metric), 1.0)
    scored = reward_set(names).score(texts, [example] * len(texts), [0] * len(texts), 0)
    assert not scored.failures
    return {n: row.tolist() for n, row in zip(scored.names, scored.values, strict=True)}


def full(reward, example):
    """What gold earns, independently of the rewards."""
    if reward in GIOU:
        return 2.0
    if reward.endswith("_paper") and reward.startswith("detection") and example.answer == "No Objects":
        return 0.0  # published: such a picture cannot score
    if reward.startswith("action_co"):
        action = example.answer.partition("(")[0]
        points = {"Click": 1.0, "LongPress": 1.0, "Drag": 1.0, "Scroll": 1.5}
        texts = ("Type", "Launch", "Finished", "CallUser")
        return points.get(action, 0.0) if reward == "action_coordinates" else float(action in texts)
    return 1.0


def corrupted(name, example, other):
    """Completions that are wrong in one thing."""
    target = get_task(name).targets["cot"](example)
    swap = lambda text: target.replace(example.answer, text)  # noqa: E731
    if name == "detection":
        if example.answer == "No Objects":
            return [swap("[{'Position': [100, 100, 300, 300], 'Confidence': 1}]"), swap("none there")]
        first = re.search(r"\{[^}]*\}", example.answer)[0]
        return [
            swap("No Objects"), swap(example.answer.replace("'Confidence': 1}", "'Confidence': 0.3}", 1)),
            swap(example.answer.replace("]}", "]}", 1)[:-1] + ", {'Position': [0, 0, 9, 9], 'Confidence': 1}]"),
            swap(example.answer.replace(first, "{'Position': [1, 1, 9, 9], 'Confidence': 1}")),
        ]  # fmt: skip
    if name == "classification":
        wrong = [other.answer] if other.answer != example.answer else []
        return [swap(text) for text in ("", "a", f"{example.answer}, or else a very large teapot", "zebra", *wrong)]
    if name in ("grounding", "screen"):
        numbers = [int(x) for x in re.findall(r"-?\d+", example.answer)]
        if len(numbers) == 2:
            return [swap("[10,10,20,20]"), swap("[500,500]")]
        x1, y1, x2, y2 = numbers
        top = y1 + 450 if y1 < 450 else y1 - 450
        form = "({},{}),({},{})" if name == "grounding" else "[{},{},{},{}]"
        texts = [form.format(x1, top, x2, top + y2 - y1), "[-1,-1]", ""]
        return [swap(text) for text in texts]
    if name == "navigation":
        wrong = [f"{action}()" for action in ("Wait", "PressHome") if action not in example.answer]
        point = read_action(example.answer).point("box")
        if point:
            wrong.append(f"Click(box=({(point[0] + 400) % 1000:.0f}, {(point[1] + 400) % 1000:.0f}))")
        return [swap(text) for text in wrong] + [target.replace("<think>", "")]
    x, y = (float(v) for v in re.findall(r"[\d.]+", example.answer))
    first = example.cot.split("\n")[0]
    return [
        target.replace(f"\n{example.answer}\n", f"\n[({(x + 0.4) % 1:.3f}, {(y + 0.4) % 1:.3f})]\n"), swap(""),
        target.replace(first, "[Position] [thing]: [(0.999, 0.999)]"),
        target.replace("<think>", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "domain"), CASES)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(index=st.integers(0, 10**6), other=st.integers(0, 10**6))
def test_gold_earns_everything_and_a_corrupted_answer_less(name, domain, index, other):
    example, task = made(name, domain, index), get_task(name)
    target = task.targets["cot"](example)
    rows = rewards_of(name, [target, *corrupted(name, example, made(name, domain, other))], example)
    assert {n: row[0] for n, row in rows.items()} == {n: pytest.approx(full(n, example)) for n in rows}
    for place in range(1, len(next(iter(rows.values())))):
        own = {n: row[place] for n, row in rows.items() if n in task.rewards}
        assert sum(own.values()) < sum(full(n, example) for n in own) - 1e-6, (place, own)
    kept = replace(example, images=())
    assert task.record(kept).answer == example.answer  # the door leaves a twin's answer as it is
    whole = task.set_metrics([Prediction(kept, (target,))])
    assert whole and all(v == 1.0 for n, v in whole.items() if n not in ("wrong_format",)), whole


def test_a_scroll_keeps_its_direction_in_a_narrow_picture():
    """Its longer axis is that of the pixels: in thousandths of 100x400 pixels it is the other one."""
    gold = {"action": "Scroll(start=(20, 200), end=(60, 260))", "size": [100, 400]}
    example = Example("s", "ui_navigation", "Down.", "-", (), None, gold)
    text = "<think>.</think><action>Scroll(start=(200, 500), end=(600, 650))</action>"
    rows = rewards_of("navigation", [text], example)
    assert (rows["action_step"], rows["action_coordinates"]) == ([1.0], [1.5])


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_a_function_of_its_address(name):
    again = get_task(name).make(3, 7, "test", "in")
    first = made(name, "in", 7)
    assert (again.problem, again.answer, again.cot, again.metadata) == (
        first.problem, first.answer, first.cot, first.metadata,
    )  # fmt: skip
    assert np.array_equal(again.images[0], first.images[0])
    with pytest.raises(ValueError, match="domain 'left'"):
        get_task(name).make(0, 0, "test", "left")


def test_gold_boxes_hold_what_is_drawn():
    for index in range(40):
        example = made("screen", "in", index)
        if (box := example.metadata["box"]) is not None:
            x1, y1, x2, y2 = box
            around = example.images[0][max(0, y1 - 2) : y2 + 2, max(0, x1 - 2) : x2 + 2].astype(int)
            assert np.ptp(around, axis=(0, 1)).max() > 60
    # An object alone: what differs from the scene without it lies in its box, but for its shadow.
    from rrft_jax.tasks.scenes.extent import box_of, outline
    from rrft_jax.tasks.visual_counting.scene import IN, sample_scene

    scene = sample_scene(np.random.default_rng(0), IN)
    for thing in scene.things:
        mask = outline(thing, IN.view.camera, 112, 112)
        assert np.array_equal(from_spans(spans(mask), 112, 112), mask)
        x1, y1, x2, y2 = box_of(mask)
        assert mask[y1:y2, x1:x2].sum() == mask.sum()
        assert all(edge.any() for edge in (mask[y1], mask[y2 - 1], mask[:, x1], mask[:, x2 - 1]))


def test_steps_of_a_chain_go_where_the_words_say():
    """By the projected places alone: left is a smaller x, behind is higher up in the picture."""
    lengths = set()
    for index in range(60):
        example = made("referring", "in", index)
        hops = re.findall(r"nearest object (to its left|to its right|behind it|in front of it)", example.problem)
        places = [step[2] for step in example.metadata["key_steps"] if step[0] == "Position"]
        assert len(hops) + 1 == len(places) == example.metadata["step"]
        lengths.add(len(places))
        for hop, (x1, y1), (x2, y2) in zip(hops, places, places[1:], strict=False):
            right = {"to its left": x2 < x1, "to its right": x2 > x1, "behind it": y2 < y1, "in front of it": y2 > y1}
            assert right[hop]
        x, y = example.metadata["point"]
        assert from_spans(example.metadata["mask"], 112, 112)[int(y), int(x)]
    assert lengths == {1, 2, 3, 4, 5}


def test_stories_use_every_action_they_can_and_histories_grow():
    found = [made("navigation", "in", index) for index in range(400)]
    names = {example.answer.partition("(")[0] for example in found}
    assert names == set(ACTIONS)
    for example in found:
        assert example.problem.count("\nStep ") == example.metadata["step"]


PICTURE = (np.zeros((50, 100, 3), np.uint8),)


def record(task, answer="-", picture=PICTURE, **metadata):
    return get_task(task).record(Example("r", task, "What?", answer, picture, None, metadata))


def test_records_in_pixels_become_answers():
    assert record("detection", boxes=[[10, 10, 50, 40]], size=[100, 50]).answer == (
        "[{'Position': [100, 200, 500, 800], 'Confidence': 1}]"
    )
    assert record("detection", boxes=[], size=[100, 50]).answer == "No Objects"
    assert record("grounding", box=[10, 10, 50, 40], size=[100, 50]).answer == "(100,200),(500,800)"
    found = record("screen", bbox=[10, 10, 50, 40], img_size=[100, 50])
    assert (found.answer, found.metadata["box"]) == ("[100,200,500,800]", [10, 10, 50, 40])
    assert record("screen", "[10, 10, 50, 40]", size=[100, 50]).answer == "[100,200,500,800]"
    assert record("screen", "[-1, -1]", size=[100, 50]).metadata["box"] is None
    found = record("navigation", "Click(box=(10, 40))", size=[100, 50], history=["PressHome()"])
    assert (found.answer, found.problem) == ("Click(box=(100, 800))", "Task: What?\nStep 1: PressHome()")
    again = get_task("navigation").record(found)
    assert (again.answer, again.problem) == (found.answer, found.problem)
    found = record("referring", "[(0.341, 0.510)]", size=[100, 50])
    assert found.metadata["point"] == pytest.approx([34.1, 25.5]) and found.answer == "[(0.341, 0.510)]"
    mask = np.zeros((50, 100), bool)
    mask[10:21, 40:51] = True
    found = record("referring", mask=spans(mask), size=[100, 50])
    assert found.metadata["point"] == [45.5, 15.5]


@pytest.mark.parametrize(
    ("task", "answer", "metadata", "message"),
    [
        ("detection", "-", {"boxes": [[10, 10, 101, 40]], "size": [100, 50]}, r"box \[10.*\] lies outside .* 100x50"),
        ("detection", "-", {"boxes": [[50, 10, 10, 40]], "size": [100, 50]}, "with x1 < x2"),
        ("detection", "-", {"boxes": [[1, 1, 2, 2]], "size": [90, 50]}, "size is 90x50 and its picture has 100x50"),
        ("detection", "-", {"boxes": [[1, 1, 2, 2]]}, "size is None; give the picture's"),
        ("detection", "a cube", {}, "no list of boxes"),
        ("detection", "[{'Position': [10, 20, 1300, 400], 'Confidence': 1}]", {}, "outside its picture of 1000x1000"),
        ("grounding", "-", {"box": [0, 0, 50, 51], "size": [100, 50]}, "lies outside"),
        ("grounding", "here", {}, "no box such as"),
        ("screen", "-", {"bbox": [-1, 0, 5, 5], "img_size": [100, 50]}, "lies outside"),
        ("screen", "there", {"size": [100, 50]}, "is no box: give bbox"),
        ("navigation", "Tap(1, 2)", {"size": [100, 50]}, "none of the 13 actions"),
        ("navigation", "Click(box=(10, 60))", {"size": [100, 50]}, r"action: box \[10.0, 60.0\] lies outside"),
        ("referring", "there", {"size": [100, 50]}, "is no point such as"),
        ("referring", "-", {"size": [100, 50], "point": [10, 70]}, "point .* lies outside"),
        ("referring", "-", {"size": [100, 50], "point": [1, 1], "key_steps": [["Colour", "cup", 1]]}, "key step"),
    ],
)  # fmt: skip
def test_bad_records_are_refused_with_the_remedy(task, answer, metadata, message):
    with pytest.raises(ValueError, match=message):
        record(task, answer, **metadata)


def test_mean_average_precision_is_that_of_pycocotools():
    pytest.importorskip("pycocotools", reason="pycocotools, of the extra test, is not installed")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)
    for trial in range(3):
        truth, found, queries = [], [], {}
        for category in range(1, 4):
            queries[category] = []
            for image in range(1, 13):
                corners = rng.integers(0, 60, (int(rng.integers(0, 5)), 2))
                gold = [Box(*map(float, (x, y, x + w, y + h))) for (x, y), (w, h) in
                        zip(corners, rng.integers(5, 40, corners.shape), strict=True)]  # fmt: skip
                count = 130 if image == 1 and trial == 1 else int(rng.integers(0, 7))
                shifts = rng.integers(-6, 7, (count, 4))
                bases = [gold[int(rng.integers(len(gold)))] if gold else Box(5, 5, 30, 30) for _ in range(count)]
                boxes = [Box(*(np.array(b) + s).astype(float)) for b, s in zip(bases, shifts, strict=True)]
                boxes = [box for box in boxes if box.upright]
                scored = [(box, float(rng.integers(1, 20)) / 20) for box in boxes]  # with ties
                queries[category].append(Query(gold, scored))
                flat = lambda b: [b.x1, b.y1, b.x2 - b.x1, b.y2 - b.y1]  # noqa: E731
                truth += [{"image_id": image, "category_id": category, "bbox": flat(b), "area": b.area, "iscrowd": 0}
                          for b in gold]  # fmt: skip
                found += [{"image_id": image, "category_id": category, "bbox": flat(b), "score": s} for b, s in scored]
        coco = COCO()
        coco.dataset = {"images": [{"id": i} for i in range(1, 13)], "categories": [{"id": c} for c in queries],
                        "annotations": [{"id": n, **each} for n, each in enumerate(truth, 1)]}  # fmt: skip
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(found), "bbox")
        judge.evaluate(), judge.accumulate(), judge.summarize()
        ours = mean_average_precision(queries)
        assert (ours["mAP"], ours["AP50"]) == pytest.approx((judge.stats[0], judge.stats[1]), abs=1e-9)
    assert mean_average_precision({"cat": [Query([], [(Box(0, 0, 1, 1), 0.5)])]}) == {}


def test_set_metrics_of_answers_that_cannot_be_read():
    for name in NAMES:
        some = [Prediction(made(name, "in", index).without_images(), ("nothing",)) for index in range(12)]
        whole = get_task(name).set_metrics(some)
        assert whole and all(value == 0.0 for key, value in whole.items() if key != "wrong_format"), (name, whole)


def test_a_contact_sheet_shows_gold_boxes_and_points(tmp_path):
    for name in ("detection", "referring"):
        out = tmp_path / f"{name}.png"
        command = [sys.executable, "launch/contact_sheet.py", f"--task={name}", "--n=1", "--scale=2", f"--out={out}"]
        shown = []
        for more in ((), ("--marks",)):
            subprocess.run([*command, *more], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
            shown.append((np.asarray(Image.open(out).convert("RGB")) == (255, 0, 160)).all(axis=-1).any())
        assert shown == [False, True]
