"""How the systems' study divides failures: gold is right, and each corruption is of its kind."""

import importlib.util
import re
from pathlib import Path

import pytest

from rrft_jax.tasks.registry import get_task

SCRIPT = Path(__file__).parents[2] / "scripts" / "systems_failures.py"
NAMES = ("detection", "classification", "grounding", "screen", "navigation", "referring")
# Task -> what stands in place of gold, and what that is.
WRONG = {
    "detection": {"No Objects": "absent", "[{'Position': [1, 1, 3, 3], 'Confidence': 1}]": "elsewhere", "x": "parse"},
    "classification": {"gold teapot": "elsewhere"},
    "grounding": {"(1,1),(3,3)": "elsewhere", "there": "parse"},
    "screen": {"[0,0,4,4]": "elsewhere", "[-1,-1]": "absent", "there": "parse"},
    "navigation": {"Wait()": "action", "there": "parse"},
    "referring": {"[(0.990, 0.010)]": "elsewhere", "there": "parse"},
}


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("systems_failures", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def example_of(name):
    """The first with one place that is not at an edge, or a click."""
    task = get_task(name)
    for index in range(200):
        made = task.make(0, index, "val", "in")
        one = {"detection": made.answer.count("Position") == 1, "navigation": made.answer.startswith("Click")}
        if one.get(name, made.answer != "[-1,-1]"):
            return task, made
    raise AssertionError(name)


@pytest.mark.parametrize("name", NAMES)
def test_each_failure_has_its_kind(study, name):
    task, example = example_of(name)
    gold = task.targets["cot"](example)
    texts = [gold, *(gold.replace(example.answer, said) for said in WRONG[name])]
    assert study.kinds(task.name, texts, [example] * len(texts)) == ["right", *WRONG[name].values()]
    found = study.shares(["right", "parse", "right", "elsewhere"])
    assert found == {"right": 0.5, "elsewhere": 0.25, "parse": 0.25} and set(found) < set(study.KINDS)


def test_a_box_that_meets_half_of_gold_is_imprecise(study):
    task, example = example_of("grounding")
    x1, y1, x2, y2 = (int(x) for x in re.findall(r"\d+", example.answer))
    half = (x2 - x1) // 2 + 1
    text = f"<think>.</think><answer>({x1 + half},{y1}),({x2 + half},{y2})</answer>"
    assert study.kinds(task.name, [text, text.replace("<think>", "")], [example] * 2) == ["imprecise", "format"]
