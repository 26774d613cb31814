"""The questions of a benchmark: generated twins, or the published test files."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

from rrft_jax.data.example import Example
from rrft_jax.data.prepared import find_prepared, read_prepared
from rrft_jax.data.records import RecordError, Records
from rrft_jax.data.sources import reason_rft
from rrft_jax.data.sources.common import read_part
from rrft_jax.evaluation.benchmarks import Benchmark
from rrft_jax.run.workdir import VERSIONS, stored_config
from rrft_jax.tasks.registry import get_task
from rrft_jax.tasks.texts import is_template_file, read_template

GENERATED = 500
SPLIT = "test"  # of the generators' streams: neither trained nor selected on
_PUBLISHED_SPLITS = {"in": "test", "out": "test_ood", "left": "test_left", "right": "test_right"}
# Geometry3K mixes numbers and choices in one file, and the published evaluation asks all of them alike.
_PUBLISHED_PROMPTS = {("structure_ood", "cot"): "GEO3K_COT"}
_EVALUATED_AS = {"caption": "caption_eval", "TRANCE_CAPTION": "TRANCE_CAPTION_EVAL"}


class Asked(NamedTuple):
    """about: what the numbers are of, which goes with them: source ("generated", "published"), limit (0: all of it) and
    skipped, the records that could not be used."""

    examples: list[Example]
    ask: Callable[[Example], str]
    about: dict[str, Any]


def questions(benchmark: Benchmark, folder: str, limit: int, prompt: str, strict: bool = False) -> Asked:
    """The examples of a benchmark and how they are asked.

    folder: where the published test files are, as downloaded or prepared; empty: generated. limit: only the first so
    many; 0: all, and GENERATED of what is generated. Bad records are skipped and counted, or with `strict` an error.
    Raises ValueError where the folder does not hold the benchmark.
    """
    task = get_task(benchmark.task)
    if not folder:
        examples = [task.make(0, i, SPLIT, benchmark.domain) for i in range(limit or GENERATED)]
        return Asked(examples, task.asker(prompt), {"source": "generated", "limit": limit, "skipped": []})
    prepared = find_prepared(folder, task.name)
    records = (_prepared if prepared else _published)(benchmark, prepared or folder, strict)
    if records.problems:
        logging.warning("%s: %s", benchmark.name, records.report())
    if not records.examples:
        raise RecordError(f"--data_dir={folder}: no record of {benchmark.name} can be used\n{records.report()}")
    asked = _PUBLISHED_PROMPTS.get((benchmark.name, prompt), prompt)
    about = {"source": "published", "limit": limit, "skipped": [str(problem) for problem in records.problems]}
    return Asked(list(records.examples[: limit or None]), task.asker(asked, real=True), about)


def _published(benchmark: Benchmark, folder: str, strict: bool) -> Records:
    split = _PUBLISHED_SPLITS[benchmark.domain]
    try:
        found = reason_rft.find(folder, benchmark.task)
    except FileNotFoundError as error:  # which speaks of prepare_data's flag
        raise FileNotFoundError(str(error).replace("--input=", "--data_dir=")) from None
    part = next((part for part in found.parts if (part.task, part.split) == (benchmark.task, split)), None)
    if part is None:
        there = ", ".join(f"{p.task} {p.split}" for p in found.parts) or "none of this task"
        raise ValueError(f"--data_dir={folder} has no {benchmark.file}.json for {benchmark.name}; it holds {there}")
    return read_part(part, strict)


def _prepared(benchmark: Benchmark, folder: Path, strict: bool) -> Records:
    """The tests of another data set are no benchmark of the paper, whatever their split is called."""
    if folder.resolve().parent.parent.name != "reason_rft":
        raise ValueError(
            f"--data_dir: {folder} was not prepared by --source=reason_rft, so {benchmark.name} is not there"
        )
    return read_prepared(folder, benchmark.task, _PUBLISHED_SPLITS[benchmark.domain], strict)


def template_digest(prompt: str) -> str | None:
    """Of the text of a prompt that is a file: edited, it is another prompt of the same name. None for named prompts."""
    return sha256(read_template(prompt).encode()).hexdigest()[:16] if is_template_file(prompt) else None


def prompt_of(checkpoint: str) -> str:
    """The prompt a checkpoint goes with: that of its training for a workdir, or what the paper evaluates instead of it;
    else zero_shot."""
    path = Path(checkpoint).expanduser()
    prompt = stored_config(path).prompt if (path / VERSIONS).is_file() else "zero_shot"
    return _EVALUATED_AS.get(prompt, prompt)
