import pytest

from rrft_jax.evaluation.benchmarks import benchmarks, choose_benchmarks
from rrft_jax.evaluation.published import COLUMNS, PARTS


def test_seven_columns_over_three_tasks():
    assert [b.name for b in choose_benchmarks("all")] == [
        "counting_id", "counting_ood", "structure_id", "structure_ood", "spatial_id", "spatial_left", "spatial_right",
    ]  # fmt: skip
    columns = [b.column for b in choose_benchmarks("all")]
    assert (*(c.name for c in columns), *PARTS) == COLUMNS
    assert len({c.file for c in columns}) == len({c.title for c in columns}) == 7
    part = {"in": "-id-test-", "out": "-ood-test-", "left": "-ood-left-test-", "right": "-ood-right-test-"}
    assert all(part[c.domain] in c.file for c in columns)
    split = {"in": "test", "out": "test_ood", "left": "test_left", "right": "test_right"}
    assert all(c.split == split[c.domain] for c in columns)
    names = [b.name for b in benchmarks()]
    assert len(set(names)) == len(names)


def test_choosing_by_name():
    assert [b.name for b in choose_benchmarks("spatial_left")] == ["spatial_left"]
    assert [b.column.domain for b in choose_benchmarks("spatial_transformation")] == ["in", "left", "right"]
    assert choose_benchmarks("spatial") == choose_benchmarks("spatial_transformation")
    with pytest.raises(ValueError, match="--benchmark='countin_id' is no benchmark; did you mean counting_id"):
        choose_benchmarks("countin_id")
