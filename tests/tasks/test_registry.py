"""How a task turns an example into the user's text."""

import pytest

from rrft_jax.data.example import Example
from rrft_jax.tasks import Task
from rrft_jax.tasks.registry import get_task, question_templates
from rrft_jax.tasks.texts import SLOT, fill, read_template

EXAMPLE = Example("a", "visual_counting", "How many {cubes}?", "3")


def test_a_paradigm_a_template_and_a_file_name_the_same_text(tmp_path):
    task = get_task("visual_counting")
    file = tmp_path / "mine.txt"
    file.write_text(task.templates["COUNT_COT"] + "\n")
    texts = {task.prompt_fn(prompt)(EXAMPLE) for prompt in ("cot", "COUNT_COT", str(file))}
    assert texts == {
        "How many {cubes}? Output the thinking process in <think> </think> and final answer (number) in <answer> "
        "</answer> tags."
    }


def test_real_records_may_have_templates_of_their_own_and_an_example_may_choose():
    templates = {"SHORT": f"S {SLOT}", "LONG": f"L {SLOT}", "OTHER": f"O {SLOT}"}
    published = {"cot": lambda e: "LONG" if e.answer == "3" else "OTHER"}
    task = Task(name="t", templates=templates, prompts={"cot": "SHORT"}, published=published)
    other = Example("b", "t", "Q", "4")
    assert task.prompt_fn("cot")(EXAMPLE) == "S How many {cubes}?"
    assert task.prompt_fn("cot", real=True)(EXAMPLE) == "L How many {cubes}?"
    assert task.prompt_fn("cot", True)(other) == "O Q"


def test_marks_for_pictures_come_on_lines_in_front_of_the_question(tmp_path):
    example = Example("a", "spatial_transformation", "What changed?", "change_size(0, large)", images=("a", "b"))
    plain, marked = (get_task(example.task).prompt_fn("cot", True, marks)(example) for marks in (False, True))
    assert "<image>" not in plain and plain.count("What changed?") == 1
    assert marked == plain.replace("What changed?", "<image>\n<image>\nWhat changed?")
    (tmp_path / "t.txt").write_text(f"<image>\n{SLOT}")
    with pytest.raises(ValueError, match=r"t\.txt holds <image>, which comes with the question"):
        get_task(example.task).prompt_fn(str(tmp_path / "t.txt"), marks=True)


def test_what_no_template_is_lists_what_there_is():
    with pytest.raises(ValueError, match=r"'cott' is neither a paradigm of visual_counting \(zero_shot, ans, cot\)"):
        get_task("visual_counting").prompt_fn("cott")


@pytest.mark.parametrize("text", ["no slot", SLOT * 2])
def test_a_template_file_has_one_slot(tmp_path, text):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(ValueError, match=r"t\.txt must hold \{Question\} once"):
        read_template(tmp_path / "t.txt")
    with pytest.raises(ValueError, match=r"none\.txt cannot be read"):
        get_task("visual_counting").prompt_fn(str(tmp_path / "none.txt"))


def test_templates_with_a_slot_are_those_a_question_can_be_put_into():
    assert all(fill(text, "@@").count("@@") == 1 for text in question_templates().values())
    assert "LISTING" not in question_templates()
