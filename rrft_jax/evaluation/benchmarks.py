"""The seven benchmark columns of the paper, each with its published file and its synthetic twin."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Benchmark:
    """name: ours, also that of a published column. title: the paper's. task: a name of tasks.registry.

    domain: which twin the task generates for it: "in", "out", and for other viewpoints "left", "right".
    file: the stem of the published test file.
    """

    name: str
    title: str
    task: str
    domain: str
    file: str


COUNTING, STRUCTURE, SPATIAL = "visual_counting", "structure_perception", "spatial_transformation"

BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark("counting_id", "CLEVR-Math", COUNTING, "in", "Visual-Counting-id-test-1k"),
    Benchmark("counting_ood", "Super-CLEVR", COUNTING, "out", "Visual-Counting-ood-test-1k"),
    Benchmark("structure_id", "GeoMath", STRUCTURE, "in", "Structure-Perception-id-test-820"),
    Benchmark("structure_ood", "Geometry3K", STRUCTURE, "out", "Structure-Perception-ood-test-800"),
    Benchmark("spatial_id", "TRANCE", SPATIAL, "in", "Spatial-Transformation-id-test-1k"),
    Benchmark("spatial_left", "TRANCE-L", SPATIAL, "left", "Spatial-Transformation-ood-left-test-1k"),
    Benchmark("spatial_right", "TRANCE-R", SPATIAL, "right", "Spatial-Transformation-ood-right-test-1k"),
)


def choose(name: str) -> Sequence[Benchmark]:
    """The benchmark of that name, those of a task, or "all"; ValueError lists the near names."""
    chosen = [b for b in BENCHMARKS if name in (b.name, b.task, "all")]
    if not chosen:
        known = ["all", *dict.fromkeys(b.task for b in BENCHMARKS), *(b.name for b in BENCHMARKS)]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
        raise ValueError(f"--benchmark={name!r} is no benchmark; did you mean {', '.join(near)}?")
    return chosen
