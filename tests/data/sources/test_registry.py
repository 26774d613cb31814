"""Sources by name, and options that a source does not know."""

import pytest

from rrft_jax.data.sources.common import TASKS, known_task
from rrft_jax.data.sources.registry import SOURCES, find_parts
from rrft_jax.tasks import registry


def test_every_task_of_the_pipeline_has_its_name():
    assert set(TASKS) <= set(registry.tasks())
    assert [known_task(name) for name in (*TASKS, "trance", "CLEVR-Math", "geometry3k", "painting", None)] == [
        *TASKS, "spatial_transformation", "visual_counting", "structure_perception", "", "",
    ]  # fmt: skip


def test_wrong_names(tmp_path):
    with pytest.raises(ValueError, match="--source=imagenet is none of reason_rft, clevr_math"):
        find_parts("imagenet", tmp_path)
    with pytest.raises(ValueError, match="--answers says nothing to --source=super_clevr, which takes --per_scene"):
        find_parts("super_clevr", tmp_path, answers="letter")
    with pytest.raises(ValueError, match="--task=painting is none of"):
        find_parts("jsonl", tmp_path, task="painting")


def test_each_source_says_where_it_comes_from():
    for source in SOURCES.values():
        assert source.about and source.licence
        local = ("jsonl", "parquet", "preferences", "webdataset")
        assert source.name in local or source.homepage.startswith("https://")
