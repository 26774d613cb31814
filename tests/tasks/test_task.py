"""A task owns itself: what the class refuses, and a task of somebody else's from a file."""

from dataclasses import replace

import pytest

from rrft_jax.data.example import Example
from rrft_jax.doors import DoorError
from rrft_jax.run.progress import reward_columns
from rrft_jax.tasks import Column, HeldOut, Prediction, Task
from rrft_jax.tasks.registry import AUTO, get_task, tasks

OWN = """
from rrft_jax.data.example import Example
from rrft_jax.tasks import Column, HeldOut, Task

def make(seed, index, split, domain):
    return Example(f"{domain}-{split}-{seed}-{index}", "parity", f"Is {index} even?", ("yes", "no")[index % 2])

def share_of_yes(predictions):
    return {"yes": sum(texts[0] == "yes" for _, texts in predictions) / len(predictions)}

TASK = Task(
    name="parity", templates={"ASK": "{Question}"}, prompts={"cot": "ASK"}, make=make, summarise=share_of_yes,
    held_out={"eval": HeldOut("in", "small numbers")}, benchmarks=(Column(name="parity_id", title="Parity"),),
)
BROKEN = Task(name="broken", templates={}, prompts={}, make=lambda *_: 1 / 0)
NOTHING = {}
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own_task.py").write_text(OWN)
    return f"{tmp_path}/own_task.py"


def test_a_file_gives_a_task_that_is_whole(own):
    task = get_task(own)
    example = task.make(0, 3, "train", "in")
    assert (task.name, task.prompt_fn("cot")(example), example.answer) == ("parity", "Is 3 even?", "no")
    assert task.set_metrics([Prediction(example, ("yes",)), Prediction(example, ("no",))]) == {"yes": 0.5}
    assert task.titles() == {"eval": "small numbers"} and task.rewards == {"accuracy": 1.0, "format": 1.0}


def test_what_is_wrong_in_somebody_elses_file_is_told_with_its_line(own):
    with pytest.raises(DoorError, match=r"config.task=.*BROKEN: make failed: ZeroDivisionError: .*own_task.py:15\)"):
        get_task(f"{own}:BROKEN").make(0, 0, "train", "in")
    with pytest.raises(DoorError, match=r"--task=.*NOTHING is of type dict, not a rrft_jax.tasks.Task"):
        get_task(f"{own}:NOTHING", "--task")


def test_names_aliases_and_auto():
    assert all(get_task(task.alias) is task for task in tasks().values() if task.alias)
    assert get_task(AUTO) is get_task("visual_counting") is get_task("counting")
    with pytest.raises(ValueError, match="config.task='visual_conting' is no task; did you mean visual_counting"):
        get_task("visual_conting")


GOOD = {"name": "t", "templates": {"A": "{Question}"}, "prompts": {"cot": "A"}}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"name": "a:b"}, "a name is letters, digits and _"),
        ({"prompts": {"cot": "B"}}, "prompt cot names the template 'B'; there are A"),
        ({"held_out": {"eval": HeldOut("in", "x")}}, "held_out sets are generated"),
        ({"make": lambda *_: None, "held_out": {"test": HeldOut("in", "x")}}, "one of them is called eval"),
        ({"make": lambda *_: None, "held_out": {"eval": "in"}}, r"held_out\['eval'\] must be HeldOut"),
    ],
)
def test_a_task_that_contradicts_itself_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Task(**{**GOOD, **change})


@pytest.mark.parametrize("found", [{"mAP": float("nan")}, {"mAP": None}, 0.5, {1: 0.5}])
def test_a_metric_of_the_whole_set_is_a_number_with_a_name(found):
    task = Task(**GOOD, summarise=lambda predictions: found)
    with pytest.raises(ValueError, match="summarise must give finite numbers by name"):
        task.set_metrics([Prediction(Example("e", "t", "?", "1"), ("1",))])
    assert task.set_metrics([]) == replace(task, summarise=None).set_metrics([]) == {}


def test_the_progress_bar_shows_each_task_its_own_reward():
    """`rewards/accuracy` alone left the spatial task without any."""
    shown = {task.alias: [metric for _, metric, _ in reward_columns(task.shown())] for task in tasks().values()}
    assert shown["counting"] == ["reward", "rewards/accuracy/mean", "kl", "tokens_per_second"]
    assert shown["spatial"] == ["reward", "rewards/functions/mean", "kl", "tokens_per_second"]


def test_columns_default_to_the_test_split_of_the_training_domain():
    column = Column(name="c", title="C")
    assert (column.domain, column.split, column.file) == ("in", "test", "")
