"""AndroidControl's and GUI-Odyssey's files, made up in their published layout, whole and damaged."""

import gzip
import io
import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from rrft_jax.data.tfrecord import parse_example, read_examples
from rrft_jax.tasks.registry import get_task
from rrft_jax.tasks.task import Prediction
from tests.data.sources.test_places import read, write

WIDE, HIGH = 200, 400
ACTIONS = [
    {"action_type": "open_app", "app_name": "Clock"}, {"action_type": "click", "x": 50, "y": 300},
    {"action_type": "input_text", "text": "it's 7, \"am\""}, {"action_type": "scroll", "direction": "down"},
    {"action_type": "navigate_back"}, {"action_type": "long_press", "x": 100, "y": 100},
]  # fmt: skip


def png():
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((HIGH, WIDE, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def android_control(path, *episodes):
    """Written by tensorboardX and the protocol buffers of tensorflow-datasets."""
    from tensorboardX.record_writer import RecordWriter
    from tensorflow_datasets.proto import tf_example_generated_pb2 as proto

    plain = path.with_suffix(".plain")
    writer = RecordWriter(str(plain))
    for number, actions in episodes:
        example = proto.Example()
        features = example.features.feature
        features["episode_id"].int64_list.value.append(number)
        features["goal"].bytes_list.value.append(b"Set an alarm.")
        features["screenshots"].bytes_list.value.extend([png()] * (len(actions) + 1))
        features["screenshot_widths"].int64_list.value.extend([WIDE] * (len(actions) + 1))
        features["screenshot_heights"].int64_list.value.extend([HIGH] * (len(actions) + 1))
        features["actions"].bytes_list.value.extend(json.dumps(action).encode() for action in actions)
        features["step_instructions"].bytes_list.value.extend([b"Do it."] * len(actions))
        features["score"].float_list.value.extend([0.5, -2.0])
        writer.write(example.SerializeToString())
    writer.close()
    path.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()


def golds(examples):
    """Each gold answer as a completion, with the numbers of the set."""
    task = get_task("navigation")
    return task.set_metrics([Prediction(e, (task.targets["ans"](e),)) for e in examples])


def test_android_control(tmp_path):
    bad = [{"action_type": "click", "x": 300, "y": 5}, {"action_type": "fly"}, *ACTIONS[4:]]
    android_control(tmp_path / "android_control-00000-of-00001", (7, ACTIONS), (-3, bad))
    write(tmp_path, "splits.json", {"train": [7], "test": [-3]})
    examples, problems = read("android_control", tmp_path)
    assert [example.answer for example in examples] == [
        "Launch(app='Clock')", "Click(box=(250, 750))", "Type(content='it's 7, \"am\"')", "Scroll(direction='down')",
        "PressBack()", "LongPress(box=(500, 250))", "PressBack()", "LongPress(box=(500, 250))",
    ]  # fmt: skip
    assert examples[2].problem == "Task: Set an alarm.\nStep 1: Launch(app='Clock')\nStep 2: Click(box=(250, 750))"
    assert (examples[5].metadata["episode"], examples[5].metadata["step"]) == ("7", 5)
    assert golds(examples)["step_success"] == golds(examples)["grounding"] == 1.0
    first, second = problems
    assert "record 1 (episode -3), step 0: click at (300, 5) lies outside the picture of 200x400" in first
    assert "'fly'" in second
    low, _ = read("android_control", tmp_path, level="low")
    assert low[0].problem == "Set an alarm. Now: Do it."
    whole = (tmp_path / "android_control-00000-of-00001").read_bytes()
    (tmp_path / "android_control-00000-of-00001").write_bytes(whole[:-30])
    assert any("cannot be read" in problem for problem in read("android_control", tmp_path)[1])


def test_numbers_of_an_example_are_those_of_its_writer(tmp_path):
    android_control(tmp_path / "a", (-3, ACTIONS))
    (example,) = read_examples(tmp_path / "a")
    assert example["episode_id"] == [-3] and example["score"] == [0.5, -2.0]
    assert example["screenshot_heights"] == [HIGH] * 7 and json.loads(example["actions"][1]) == ACTIONS[1]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64))
@example(b"\n\x0e\n\x0c\n\x01x\x12\x07\x12\x05\n\x0312\x00")  # a list of floats of three bytes
def test_bytes_that_are_no_example_are_refused_or_read(data):
    try:
        found = parse_example(data)
    except ValueError:
        return
    assert isinstance(found, dict)


def test_gui_odyssey(tmp_path):
    (tmp_path / "screenshots").mkdir()
    (tmp_path / "screenshots" / "a.png").write_bytes(png())
    step = lambda action, info, **more: {"screenshot": "a.png", "action": action, "info": info, **more}  # noqa: E731
    write(tmp_path, "annotations/e1.json", {
        "episode_id": "e1", "device_info": {"w": WIDE, "h": HIGH}, "task_info": {"instruction": "Book a room."},
        "steps": [
            step("CLICK", [[250, 750]], sam2_bbox=[200, 700, 300, 800], low_level_instruction="Tap it."),
            step("CLICK", "KEY_APPSELECT"), step("SCROLL", [[500, 800], [500, 200]]), step("TEXT", "a room"),
            step("LONG_PRESS", [[1250, 1]]), {**step("CLICK", [[1, 1]]), "screenshot": "b.png"}, step("COMPLETE", ""),
            step(["CLICK"], [[1, 1]]),
        ],
    })  # fmt: skip
    write(tmp_path, "splits/random_split.json", {"train": [], "test": ["e1.json"]})
    examples, problems = read("gui_odyssey", tmp_path)
    assert [example.answer for example in examples] == [
        "Click(box=(250, 750))", "PressRecent()", "Scroll(start=(500, 800), end=(500, 200))", "Type(content='a room')",
        "Finished()",
    ]  # fmt: skip
    assert examples[0].metadata["action"] == "Click(box=(50, 300))"
    assert examples[0].metadata["element"] == [40.0, 280.0, 60.0, 320.0]
    assert golds(examples)["step_success"] == 1.0
    assert [f"step {k}" in problem for k, problem in zip((4, 5, 7), problems, strict=True)] == [True] * 3
    click = lambda x, y: Prediction(examples[0], (f"<action>Click(box=({x}, {y}))</action>",))  # noqa: E731
    rate = lambda prediction: get_task("navigation").set_metrics([prediction])["grounding"]  # noqa: E731
    assert [rate(click(x, y)) for x, y in ((345, 845), (351, 851), (250, 611))] == [1.0, 0.0, 1.0]


def test_a_split_that_is_no_level_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--level='middle' is none of high, low"):
        read("gui_odyssey", tmp_path, level="middle")
