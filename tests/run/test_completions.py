import json
import math

import numpy as np
import pytest
from PIL import Image

from rrft_jax.data.pictures import BytesPicture
from rrft_jax.run.completions import CompletionsWriter, Group, read_completions

PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def group(prompt_id=1, **more):
    return Group(
        prompt_id=prompt_id,
        example_id=f"e{prompt_id}",
        prompt="How many? é",
        answer="3",
        completions=["<answer>3</answer>", "4"],
        images=more.pop("images", (PIXELS,)),
        rewards={"accuracy": [1.0, 0.0], "format": [np.float32(1), None]},
        reward=[2.0, math.nan],
        advantages=np.array([0.5, -0.5]),
        **more,
    )


def test_written_groups_come_back(tmp_path):
    folder = CompletionsWriter(tmp_path).write(12, [group(1), group(2)])
    assert folder == tmp_path / "completions" / "step_000012"
    assert len(list(folder.glob("*.png"))) == 1  # two prompts with G completions each, one picture
    first, second = read_completions(tmp_path)
    assert (first["step"], first["prompt_id"], second["example_id"]) == (12, 1, "e2")
    assert first["prompt"] == "How many? é" and first["completions"] == ["<answer>3</answer>", "4"]
    assert first["rewards"] == {"accuracy": [1.0, 0.0], "format": [1.0, None]}
    assert first["reward"] == [2.0, None] and first["advantages"] == [0.5, -0.5]
    assert np.array_equal(np.asarray(Image.open(first["images"][0])), PIXELS)
    assert len((folder / "groups.jsonl").read_text().splitlines()) == 2
    assert [g["prompt_id"] for g in read_completions(folder)] == [1, 2]


def test_every_kind_of_image(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.bmp")
    other = Image.fromarray(255 - PIXELS)
    stored = BytesPicture((tmp_path / "a.bmp").read_bytes(), "a picture of a table")
    folder = CompletionsWriter(tmp_path).write(
        0, [group(images=(PIXELS, str(tmp_path / "a.bmp"), other, stored)), group(2, images=())]
    )
    (first, text_only) = read_completions(tmp_path)
    assert len(list(folder.glob("*.png"))) == 2
    assert first["images"][0] == first["images"][1] == first["images"][3] and text_only["images"] == []
    assert np.array_equal(np.asarray(Image.open(first["images"][2])), 255 - PIXELS)


def test_cut_back_and_writing_a_step_again(tmp_path):
    writer = CompletionsWriter(tmp_path)
    assert writer.cut_back(0) == 0
    for step in (0, 5, 10, 1_000_001):
        writer.write(step, [group(step)])
    (tmp_path / "completions" / ".step_000011.tmp").mkdir()
    assert writer.cut_back(5) == 2
    assert sorted(p.name for p in (tmp_path / "completions").iterdir()) == ["step_000000", "step_000005"]
    writer.write(5, [group(99)])
    assert [g["prompt_id"] for g in read_completions(tmp_path)] == [0, 99]


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no completions"):
        list(read_completions(tmp_path))
    with pytest.raises(ValueError, match="example e1: .*accuracy.* 1 values for 2"):
        wrong = Group(1, "e1", "p", "a", ["x", "y"], rewards={"accuracy": [1.0]})
        CompletionsWriter(tmp_path).write(1, [wrong])
    assert not (tmp_path / "completions" / "step_000001").exists()


def test_lines_are_valid_json(tmp_path):
    def refuse(constant):
        raise AssertionError(constant)

    folder = CompletionsWriter(tmp_path).write(1, [group()])
    for line in (folder / "groups.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)
