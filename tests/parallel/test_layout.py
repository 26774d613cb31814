"""Rows of a batch: padded, split groups, and what does not fit. Meshes of several devices are in test_presets.py."""

import jax
import numpy as np
import pytest

from rrft_jax.parallel.layout import one_row_each, plan, spread
from rrft_jax.parallel.mesh import make_mesh


@pytest.mark.parametrize(
    ("prompts", "group", "shards", "rows", "split"),
    [
        (14, 8, 8, 16, 1),  # the paper's 14 prompts
        (14, 8, 1, 14, 1),
        (8, 8, 8, 8, 1),
        (2, 8, 8, 8, 4),
        (3, 8, 8, 8, 2),  # two of eight rows are padding
        (1, 6, 8, 8, 2),  # 3 divides the group, but not the devices
        (4, 1, 8, 8, 1),  # SFT has nothing to split
        (5, 8, 8, 8, 1),
        (1, 16, 8, 8, 8),
    ],
)
def test_rows_and_splits(prompts, group, shards, rows, split):
    layout = spread(prompts, group, shards)
    assert (layout.rows, layout.split) == (rows, split)
    assert layout.rows % shards == 0 and layout.rows % layout.split == 0 and group % layout.split == 0


def test_whole_and_plan_on_one_device():
    mesh = make_mesh(devices=jax.devices()[:1])
    for layout in (one_row_each(14), plan(mesh, 14, 8)):
        assert layout.micro_batches == 1
        assert (layout.prompts, layout.rows, layout.split, layout.describe()) == (14, 14, 1, "")
        np.testing.assert_array_equal(layout.mine, np.arange(14))
        assert layout.owned.all() and not layout.first_member(8).any()


def test_a_prompt_and_its_members():
    layout = spread(3, 8, 8)
    layout = type(layout)(3, layout.rows, layout.split, np.arange(2, 8))
    np.testing.assert_array_equal(layout.prompt_of, [1, 1, 2, 2, 3, 3])
    np.testing.assert_array_equal(layout.first_member(8), [0, 4, 0, 4, 0, 4])
    assert layout.describe() == (
        "3 prompts a step on 8 rows: each group split over 2 rows, its prompt computed on each, 2 of weight 0"
    )


def test_micro_batches_must_leave_every_device_a_row():
    mesh = make_mesh(devices=jax.devices()[:1])
    with pytest.raises(ValueError, match=r"micro_batches=4 must divide the 6 rows.*give 1 or 2 or 3 or 6"):
        plan(mesh, 6, 8, micro_batches=4)


@pytest.mark.parametrize(("asked", "parts"), [(0, 6), (1, 1), (3, 3)])
def test_no_number_of_micro_batches_is_one_row_of_each_device_at_a_time(asked, parts):
    mesh = make_mesh(devices=jax.devices()[:1])
    assert plan(mesh, 6, 8, micro_batches=asked).micro_batches == parts
