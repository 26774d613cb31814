"""Histories from a policy's own thoughts: what enters a pool, what is chosen, variants of rare actions, the command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rrft_jax.tasks.registry import get_task
from rrft_jax.tasks.ui_navigation import histories
from rrft_jax.tasks.ui_navigation.histories import Refinement

ROOT = Path(__file__).parents[3]
STEPS = [
    {"id": "a0", "episode": "a", "step": 0, "answer": "Click(box=(50, 20))", "box": [40, 10, 60, 30], "cot": "own  a"},
    {"id": "a1", "episode": "a", "step": 1, "answer": "Type(content='tea')"},
    {"id": "a2", "episode": "a", "step": 2, "answer": "LongPress(box=(10, 40))"},
    {"id": "b0", "episode": "b", "step": 0, "answer": "PressBack()"},
]
RECORDS = [{"image": "x.png", "problem": "Do it.", "size": [100, 50], **step} for step in STEPS]


def said(thought, action):
    return f"<think>{thought}</think><action>{action}</action>"


def test_thoughts_enter_where_the_action_is_right():
    example = histories.as_example(RECORDS[0])
    texts = [
        said("press\nit", "Click(box=(500, 400))"),
        said("far", "Click(box=(900, 900))"),
        "<action>Click(box=(500, 400))</action>",
        said("near", "Click(box=(420, 220))"),
        said("press it", "Click(box=(510, 410))"),
        "",
        said("w", "Wait()"),
    ]
    assert histories.thoughts(texts, example) == ["press it", "near"]
    assert histories.merged({"a0": ["near"]}, "a0", ["press it", "near"]) == {"a0": ["near", "press it"]}
    assert histories.merged({}, "a0", []) == {}


def test_the_thought_of_the_nearest_length_stands_for_its_step():
    assert histories.select(["one", "one two three", "one two"], 2) == "one two"
    assert histories.select(["one", "one two three"], 2) == "one" and histories.select([], 2) == ""
    pools = {"a0": ["short", "a thought of five words"], "a1": ["one", "two", "three"]}
    out = histories.refined(RECORDS, pools, Refinement(length=5, variants=3))
    assert [record["id"] for record in out] == ["a0", "a1", "a2", "a2-v1", "a2-v2", "a2-v3", "b0"]
    plain = {record["id"]: record.get("history") for record in out}
    first = "<think>a thought of five words</think><action>Click(box=(500, 400))</action>"
    assert plain["a0"] is plain["b0"] is None and plain["a1"] == [first]
    assert plain["a2"] == [first, "<think>one</think><action>Type(content='tea')</action>"]
    variants = [tuple(plain[f"a2-v{n}"]) for n in (1, 2, 3)]
    assert len({*variants, tuple(plain["a2"])}) == 4  # no two alike
    assert out == histories.refined(out_without_variants(out), pools, Refinement(length=5, variants=3))
    assert histories.refined(RECORDS, {}, Refinement())[1]["history"] == [
        "<think>own a</think><action>Click(box=(500, 400))</action>"
    ]
    assert len(histories.refined(RECORDS, pools, Refinement(keep=1))[2]["history"]) == 1


def out_without_variants(records):
    return [record for record in records if "-v" not in record["id"]]


def test_a_place_twice_and_an_action_that_cannot_be_read_are_named():
    with pytest.raises(ValueError, match="record 'a1': episode 'a' and step 0: give each its own"):
        histories.refined([RECORDS[0], {**RECORDS[1], "step": 0}], {}, Refinement())
    with pytest.raises(ValueError, match="example b0: action is 'Tap"):
        histories.refined([{**RECORDS[3], "answer": "Tap(1)"}], {}, Refinement())


def test_the_command_gives_records_that_the_task_takes_and_repeats_itself(tmp_path):
    from rrft_jax.data.example import Example

    def lines(name, rows):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    lines("steps.jsonl", RECORDS)
    texts = [said("here", "Click(box=(500, 400))"), said("there it is", "Click(box=(510, 400))")]
    lines("rollouts.jsonl", [{"id": "a0", "texts": texts}, {"id": "other", "texts": []}])
    command = [sys.executable, "launch/refine_histories.py", f"--records={tmp_path}/steps.jsonl",
               f"--rollouts={tmp_path}/rollouts.jsonl", f"--pools={tmp_path}/pools.json", "--length=3",
               f"--output={tmp_path}/out/steps.jsonl"]  # fmt: skip
    results = []
    for _ in range(2):
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        results.append((tmp_path / "out" / "steps.jsonl").read_text())
    assert results[0] == results[1] and "4 steps, 1 with completions, 1 with a pool of 2.0" in done.stdout
    assert json.loads((tmp_path / "pools.json").read_text()) == {"a0": ["here", "there it is"]}
    out = [json.loads(line) for line in results[0].splitlines()]
    assert [record["id"] for record in out] == ["a0", "a1", "a2", "a2-v1", "b0"]
    one = out[1]
    example = get_task("navigation").record(
        Example("a1", "ui_navigation", one["problem"], one["answer"], (), None, one)
    )
    assert example.problem == ("Task: Do it.\nStep 1: <think>there it is</think><action>Click(box=(500, 400))</action>")
    (tmp_path / "rollouts.jsonl").write_text('{"id": "zz", "texts": []}\n')
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 2 and "no step of" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_command_draws_completions_of_a_checkpoint_itself(tmp_path):
    """One step, nano: its completions lie next to the output, and the same command draws nothing again."""
    from PIL import Image

    made = get_task("navigation").make(0, 0, "train", "in")
    Image.fromarray(made.images[0]).save(tmp_path / "s.png")
    row = {"id": "s0", "image": "s.png", "problem": "Go back.", "answer": "PressBack()", "size": [112, 112],
           "episode": "s", "step": 0, "cot": "Back."}  # fmt: skip
    (tmp_path / "steps.jsonl").write_text(json.dumps(row) + "\n")
    command = [sys.executable, "launch/refine_histories.py", f"--records={tmp_path}/steps.jsonl", "--checkpoint=nano",
               "--samples=2", "--max_new_tokens=8", f"--pools={tmp_path}/pools.json",
               f"--output={tmp_path}/out/steps.jsonl"]  # fmt: skip
    drawn = []
    for _ in range(2):
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        drawn.append((tmp_path / "out_rollouts" / "navigation_id.jsonl").read_text())
    assert drawn[0] == drawn[1] and len(json.loads(drawn[0])["texts"]) == 2
    assert "1 steps, 1 with completions" in done.stdout
