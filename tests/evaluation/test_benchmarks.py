import pytest

from rrft_jax.evaluation.benchmarks import BENCHMARKS, choose


def test_seven_columns_over_three_tasks():
    assert [b.name for b in BENCHMARKS] == [
        "counting_id", "counting_ood", "structure_id", "structure_ood", "spatial_id", "spatial_left", "spatial_right",
    ]  # fmt: skip
    assert len({b.file for b in BENCHMARKS}) == len({b.title for b in BENCHMARKS}) == 7
    part = {"in": "-id-test-", "out": "-ood-test-", "left": "-ood-left-test-", "right": "-ood-right-test-"}
    assert all(part[b.domain] in b.file for b in BENCHMARKS)


def test_choosing_by_name():
    assert [b.name for b in choose("spatial_left")] == ["spatial_left"]
    assert [b.domain for b in choose("spatial_transformation")] == ["in", "left", "right"]
    assert tuple(choose("all")) == BENCHMARKS
    with pytest.raises(ValueError, match="--benchmark='countin_id' is no benchmark; did you mean counting_id"):
        choose("countin_id")
