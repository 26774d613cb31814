"""config.task=auto: never the counting prompt for records of something else without a word."""

from pathlib import Path

import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.config.task_choice import settle_task
from rrft_jax.training.validate import check_config
from tests.tasks.test_records import write

ROOT = Path(__file__).parents[2]


def recipe(name, folder=""):
    return load_config(f"{ROOT / 'configs' / name}{f':data={folder}' if folder else ''}")


def test_without_records_auto_is_counting():
    config = recipe("grpo_counting.py")
    assert config.task == "auto" and settle_task(config) == "" and config.task == "visual_counting"


def test_records_that_name_nothing_are_general_questions_and_the_log_says_so(tmp_path):
    folder = write(tmp_path / "mine", "")
    config = recipe("grpo_counting.py", folder)
    said = settle_task(config)
    assert config.task == "vqa" and f"nothing in {folder} names a task" in said
    assert "--config.task=visual_counting" in said
    check_config(config)
    assert settle_task(config) == ""  # once


def test_records_that_name_counting_are_counted(tmp_path):
    config = recipe("grpo_counting.py", write(tmp_path / "mine", "counting"))
    assert "visual_counting, since its records say so" in settle_task(config) and config.task == "visual_counting"


def test_a_task_that_was_named_stays_whatever_the_folder_says(tmp_path):
    config = recipe("grpo_counting.py", write(tmp_path / "mine", ""))
    config.task = "visual_counting"
    assert settle_task(config) == "" and config.task == "visual_counting"


def test_another_task_needs_its_own_lengths_and_rewards(tmp_path):
    folder = write(tmp_path / "mine", "trance")
    message = r"are of spatial_transformation, since .* configs/reason_rft_zero.py:spatial,data="
    with pytest.raises(ValueError, match=message):
        settle_task(recipe("grpo_counting.py", folder))
