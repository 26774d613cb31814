"""What does not fit is told where it would: by the plan, on devices that are not here."""

from pathlib import Path

import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.parallel.chips import GIB, SLICES, TPUS, Chip, slices
from rrft_jax.planning.dry_run import dry_run
from rrft_jax.planning.smallest import smallest_fit
from rrft_jax.pretrained import read_sizes

RECIPES = Path(__file__).parents[2] / "configs"


def recipe(size):
    return load_config(f"{RECIPES / 'grpo_counting.py'}:{size}")


@pytest.mark.parametrize(
    "size, chip, slice, axes",
    [("2b", "v5e", "2x2", (1, 4, 1)), ("7b", "v5e", "4x4", (1, 8, 2)), ("7b", "v6e", "2x4", (1, 8, 1))],
)
def test_the_smallest_slice_of_a_chip_and_its_mesh(size, chip, slice, axes):
    found = smallest_fit(recipe(size), read_sizes(size), TPUS[chip], "tpu")
    flags = " ".join(f"--config.mesh.{axis}={n}" for axis, n in zip(("data", "fsdp", "tensor"), axes, strict=True))
    assert f"{chip}:{slice} with {flags} (" in found


def test_a_plan_that_does_not_fit_ends_with_where_it_would(capsys):
    assert dry_run(recipe("2b"), capacity=TPUS["v5e"].hbm, kind="v5e") == 1  # one device is here
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("DOES NOT FIT") and "the smallest that fits, by the plan: v5e:2x2 with" in lines[-1]
    assert dry_run(recipe("2b"), capacity=100 * GIB, kind="v5e") == 0
    assert "smallest" not in capsys.readouterr().out


def test_where_nothing_fits_that_is_said():
    found = smallest_fit(recipe("2b"), read_sizes("2b"), Chip("some gpu", GIB), "gpu")
    assert found.startswith("by the plan it fits on no slice up to 256 devices")


def test_slices_grow():
    for kind in (*SLICES, "some gpu"):
        counts = [count for _, count in slices(kind)]
        assert counts == sorted(set(counts)) and dict(slices("v5p"))["v5p:2x2x2"] == 8
