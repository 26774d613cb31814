import pytest

from rrft_jax.doors import DoorError, resolve

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
