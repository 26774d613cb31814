"""Which task records name, and which of them a task accepts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rrft_jax.data.example import Example
from rrft_jax.data.folder import read_records
from rrft_jax.data.prepared import find_prepared, prepared_task
from rrft_jax.data.records import RecordError
from rrft_jax.data.sources.common import known_task, named_in
from rrft_jax.tasks.registry import tasks
from rrft_jax.tasks.task import Task


def taken(task: Task, examples: Sequence[Example]) -> tuple[tuple[Example, ...], dict[str, str]]:
    """The examples as `Task.record` returns them, and by id the reason where it refuses one, which stays unchanged.

    A record whose field `task` names another of the registered tasks is refused; a mixture looks itself.
    """
    found, refused, own = [], {}, (task.name, task.alias)
    for example in examples:
        said = example.metadata.get("task")
        named = task.name if said in own or task.parts else named_task(said)
        try:
            if named and named != task.name:
                raise ValueError(f"its task is {said}, not {task.name}: correct the record, or set config.task={named}")
            found.append(task.record(example))
        except ValueError as error:
            refused[example.id] = str(error)
            found.append(example)
    return tuple(found), refused


def named_task(said: Any) -> str:
    """The registered task that a record's field names, by its name, alias or a published spelling; else ""."""
    own = {name: task.name for task in tasks().values() for name in (task.name, task.alias)}
    return own.get(said, "") or known_task(said) if said and isinstance(said, str) else ""


def task_of_folder(
    folder: str | Path, preferred: str, image_root: str = "", columns: Sequence[str] = ()
) -> tuple[str, str]:
    """The task that the records of a folder name ("" if they name none), and, in words, what names it.

    Read in turn: prepared data sets, the records' field `task`, the names of the files and of the folder. preferred:
    the task to take where there are data sets or files of several. image_root, columns: as of `read_folder`. Raises
    ValueError where single records name several.
    """
    folder = Path(folder).expanduser()
    try:
        prepared = find_prepared(folder, preferred)
    except ValueError:  # there are others
        prepared = find_prepared(folder)
    if prepared is not None:
        return prepared_task(prepared), f"{prepared} was prepared for it"
    try:
        examples = read_records(folder, image_root=image_root or None, columns=columns).examples
    except (RecordError, FileNotFoundError):  # the next reader of them reports what is wrong
        examples = ()
    fields = dict.fromkeys(filter(None, (named_task(example.metadata.get("task")) for example in examples)))
    if len(fields) > 1:
        raise ValueError(f"records of {folder} name several tasks, {', '.join(fields)}: set config.task to one of them")
    if fields:
        return next(iter(fields)), "its records say so"
    published = [path.stem for path in folder.glob("*_jsons/*.json")]
    files = [Path(file).stem for file in dict.fromkeys(str(example.metadata["file"]) for example in examples)]
    named = {named_in(name): name for name in (folder.absolute().name, *published, *files)}
    named.pop("", None)
    if preferred in named or len(named) == 1:
        task = preferred if preferred in named else next(iter(named))
        return task, f"the name {named[task]} says so"
    if named:
        raise ValueError(f"files of {folder} are of several tasks, {', '.join(named)}: set config.task to one of them")
    return "", ""
