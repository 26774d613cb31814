"""The questions of a benchmark: generated twins, the published test files, or records of the user's own."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

from rrft_jax.data.example import Example
from rrft_jax.data.folder import FOR_EVALUATION, read_folder
from rrft_jax.data.prepared import find_prepared, read_prepared
from rrft_jax.data.records import Problem, RecordError, Records, list_problems
from rrft_jax.data.sources import reason_rft
from rrft_jax.data.sources.common import read_part
from rrft_jax.evaluation.benchmarks import Benchmark
from rrft_jax.run.workdir import VERSIONS, trained_with
from rrft_jax.tasks.records import taken, task_of_folder
from rrft_jax.tasks.registry import GENERAL, get_task
from rrft_jax.tasks.task import Column
from rrft_jax.tasks.texts import is_template_file, read_template

GENERATED = 500
SPLIT = "test"  # of the generators' streams: neither trained nor selected on


class Asked(NamedTuple):
    """about: what the numbers are of, which goes with them: source ("generated", "published", "records"), limit (0: all
    of it) and skipped, the records that could not be used."""

    examples: list[Example]
    ask: Callable[[Example], str]
    about: dict[str, Any]


def questions(
    benchmark: Benchmark, folder: str, limit: int, prompt: str, strict: bool = False, split: str = "",
    image_root: str = "", columns: Sequence[str] = (),
) -> Asked:
    """The examples of a benchmark and how they are asked.

    folder: where the published test files are, as downloaded or prepared, or of a column without a published file the
    records, of the split of that name, else the test split; empty: generated. limit: only the first so many; 0: all,
    and GENERATED of what is generated. Bad records are skipped and counted, or with `strict` an error. Raises
    ValueError where the folder does not hold the benchmark. image_root, columns: as of `read_folder`.
    """
    task, column = benchmark.task, benchmark.column
    if not folder:
        if task.make is None:
            raise ValueError(f"{benchmark.name}: {task.name} generates no questions; give --data_dir with its records")
        examples = [task.make(0, i, SPLIT, column.domain) for i in range(limit or GENERATED)]
        return Asked(examples, task.prompt_fn(prompt), {"source": "generated", "limit": limit, "skipped": []})
    if not column.file:
        records = _own(benchmark, folder, strict, split, image_root, columns)
    elif split or image_root or columns:
        flags = {"split": split, "image_root": image_root, "columns": ",".join(columns)}
        flag = next(f"--{name}={value}" for name, value in flags.items() if value)
        raise ValueError(f"{flag} is of records of your own, and {benchmark.name} is a published column: leave it out")
    elif prepared := find_prepared(folder, task.name):
        records = _prepared(benchmark, prepared, strict)
    else:
        records = _published(benchmark, folder, strict)
    if records.problems:
        logging.warning("%s: %s", benchmark.name, records.report())
    if not records.examples:
        raise RecordError(f"--data_dir={folder}: no record of {benchmark.name} can be used\n{records.report()}")
    source = "published" if column.file else "records"
    about = {"source": source, "limit": limit, "skipped": [str(problem) for problem in records.problems]}
    asked = task.prompt_fn(column.prompts.get(prompt, prompt), real=True)
    return Asked(list(records.examples[: limit or None]), asked, about)


def _published(benchmark: Benchmark, folder: str, strict: bool) -> Records:
    task, column = benchmark.task.name, benchmark.column
    try:
        found = reason_rft.find(folder, task)
    except FileNotFoundError as error:  # which speaks of prepare_data's flag
        raise FileNotFoundError(str(error).replace("--input=", "--data_dir=")) from None
    part = next((part for part in found.parts if (part.task, part.split) == (task, column.split)), None)
    if part is None:
        there = ", ".join(f"{p.task} {p.split}" for p in found.parts) or "none of this task"
        raise ValueError(f"--data_dir={folder} has no {column.file}.json for {column.name}; it holds {there}")
    return read_part(part, strict)


def _prepared(benchmark: Benchmark, folder: Path, strict: bool) -> Records:
    """The tests of another data set are no benchmark of the paper, whatever their split is called."""
    if folder.resolve().parent.parent.name != "reason_rft":
        raise ValueError(
            f"--data_dir: {folder} was not prepared by --source=reason_rft, so {benchmark.name} is not there"
        )
    return read_prepared(folder, benchmark.task.name, benchmark.column.split, strict)


def _own(
    benchmark: Benchmark, folder: str, strict: bool, split: str, image_root: str, columns: Sequence[str]
) -> Records:
    """Records of the user's own: whatever `data=` of a training may name, its test split where there is one."""
    task = benchmark.task
    found = read_folder(folder, task.name, split, image_root, strict, FOR_EVALUATION, columns)
    for note in found.notes:
        logging.warning("%s: %s", benchmark.name, note)
    examples, refused = taken(task, found.examples)
    file = {e.id: str(e.metadata.get("file", "")) for e in examples}
    problems = [Problem(file[name], name, "no usable target", why) for name, why in refused.items()]
    if problems and strict:
        raise RecordError(f"{len(problems)} problems in {folder}:\n{list_problems(problems)}")
    return Records(tuple(e for e in examples if e.id not in refused), (*found.problems, *problems))


def of_folder(
    chosen: Sequence[Benchmark], name: str, folder: str, image_root: str = "", columns: Sequence[str] = ()
) -> Sequence[Benchmark]:
    """The benchmarks of --benchmark=name, or the folder's records as one of their own where they are not the published
    ones and `name` is no single column.

    Their task is then the one that is asked for; of "all" the one that the records name, or the general one.
    """
    if not folder or name in {b.name for b in chosen} or not all(b.column.file for b in chosen):
        return chosen
    if _holds_published(chosen, folder):
        return chosen
    named = lambda: task_of_folder(folder, "", image_root, columns)[0]  # noqa: E731
    task = chosen[0].task if name != "all" else get_task(named() or GENERAL)
    own = [column for column in task.benchmarks if not column.file]
    title = f"records of {Path(folder).expanduser().absolute().name}"
    own = own or [Column(name=f"{task.alias or task.name}_records", title=title)]
    return [Benchmark(task, column) for column in own]


def _holds_published(chosen: Sequence[Benchmark], folder: str) -> bool:
    try:
        if (prepared := find_prepared(folder)) is not None:
            return prepared.resolve().parent.parent.name == "reason_rft"
        there = {(part.task, part.split) for part in reason_rft.find(folder).parts}  # by the names of its files alone
    except FileNotFoundError:  # a file, or a folder without lists
        return False
    except ValueError:  # several data sets, or a damaged archive: it is named when the benchmark is read
        return True
    return any((b.task.name, b.column.split) in there for b in chosen)


def template_digest(prompt: str) -> str | None:
    """Of the text of a prompt that is a file: edited, it is another prompt of the same name. None for named prompts."""
    return sha256(read_template(prompt).encode()).hexdigest()[:16] if is_template_file(prompt) else None


def prompt_of(checkpoint: str) -> str:
    """The prompt a checkpoint goes with: that of its training for a workdir, or what the paper evaluates instead of it;
    else zero_shot."""
    path = Path(checkpoint).expanduser()
    if not (path / VERSIONS).is_file():
        return "zero_shot"
    task, prompt, _ = trained_with(path)
    return get_task(task).replaced.get(prompt, prompt)
