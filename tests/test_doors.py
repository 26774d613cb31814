import pytest

from rrft_jax.doors import DoorError, resolve
from rrft_jax.rewards.outside import load_rewards
from rrft_jax.tasks.registry import get_task

KNOWN = {"counting": 1}


def test_a_file_gives_its_object_and_may_import_its_neighbours(tmp_path):
    (tmp_path / "neighbour_of_door.py").write_text("VALUE = 7\n")
    (tmp_path / "mine.py").write_text("from neighbour_of_door import VALUE\nTASK = [VALUE]\nOTHER = 2\n")
    file = f"{tmp_path}/mine.py"
    assert resolve(file, KNOWN, "task", "config.task") == [7]
    assert resolve(f"{file}:OTHER", KNOWN, "task", "config.task") == 2
    assert resolve(file, KNOWN, "task", "config.task") is resolve(f"{file}:TASK", KNOWN, "task", "config.task")
    assert resolve("counting", KNOWN, "task", "config.task") == 1
    assert resolve("math:pi", KNOWN, "task", "config.task") > 3


@pytest.mark.parametrize(
    "name, message",
    [
        ("countin", "did you mean counting"),
        ("{}/mine.py:TASC", "has no TASC; it defines TASK"),
        ("{}/mime.py:TASK", "does not exist .* did you mean mine.py"),
        ("{}/broken.py:TASK", r"ZeroDivisionError: .*broken.py:2\)"),
        ("{}/syntax.py:TASK", r"SyntaxError: .*syntax.py:1\)"),
        ("no_such_module_here:X", "No module named 'no_such_module_here'"),
    ],
)
def test_an_error_names_the_field_the_file_and_the_line(tmp_path, name, message):
    (tmp_path / "mine.py").write_text("TASK = 1\n")
    (tmp_path / "broken.py").write_text("def f():\n    return 1 / 0\nf()\n")
    (tmp_path / "syntax.py").write_text("TASK = = 1\n")
    with pytest.raises(DoorError, match=message) as caught:
        resolve(name.format(tmp_path), KNOWN, "task", "config.task")
    assert "config.task" in str(caught.value)


CODE = '''
from rrft_jax.tasks import Column, Task

TASK = Task(
    name="tones", templates={"ASK": "{Question}"}, prompts={"cot": "ASK"},
    benchmarks=(Column(name="tones", title="Tones"),),
)
NOT_A_TASK = 1


def loud(completions, examples, group_ids, step, *, least=1):
    return [float(text.count("!") >= least) for text in completions]
'''


def test_an_installed_distribution_registers_a_task_and_a_reward(tmp_path, monkeypatch):
    (tmp_path / "tones_of_door.py").write_text(CODE)
    info = tmp_path / "tones_of_door-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tones_of_door\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[rrft_jax.tasks]\ntones = tones_of_door:TASK\nsilence = tones_of_door:NOT_A_TASK\ngone = tones_of_door:GONE\n"
        "[rrft_jax.rewards]\nloud = tones_of_door:loud\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert get_task("tones").titles() == get_task("tones_of_door:TASK").titles()
    assert get_task("tones").benchmarks[0].title == "Tones"
    (loud,) = load_rewards(["loud=0.5"], {"loud": {"least": 2}}, {}, tokenize=str.split)
    assert (loud.name, loud.weight, loud.reward(["!", "!!"], [], [0, 0], 0)) == ("loud", 0.5, [0.0, 1.0])
    for name, message in (
        ("tonse", "did you mean tones"), ("silence", "is of type int, not a rrft_jax.tasks.Task"),
        ("gone", r"config.task=gone \(entry point tones_of_door:GONE\).*has no attribute 'GONE'"),
    ):  # fmt: skip
        with pytest.raises(DoorError, match=message):
            get_task(name)
