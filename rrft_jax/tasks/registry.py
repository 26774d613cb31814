"""The tasks by name: every folder below `tasks/` that defines TASK, and those that a reference names."""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, wraps
from importlib import import_module
from types import MappingProxyType
from typing import Any

import rrft_jax.tasks
from rrft_jax.doors import DoorError, is_reference, resolve, user_frame
from rrft_jax.tasks.mixture import mixture
from rrft_jax.tasks.task import Task
from rrft_jax.tasks.texts import SLOT

AUTO = "auto"  # config.task: the first task; of records that name no task GENERAL
GENERAL = "vqa"
GROUP = "rrft_jax.tasks"  # entry points of installed packages


@cache
def tasks() -> Mapping[str, Task]:
    """The package's own tasks by name, in their order. They are loaded at the first call."""
    folders = [found.name for found in pkgutil.iter_modules(rrft_jax.tasks.__path__) if found.ispkg]
    modules = [import_module(f"{rrft_jax.tasks.__name__}.{name}") for name in folders]
    own = [module.TASK for module in modules if hasattr(module, "TASK")]
    return MappingProxyType({task.name: task for task in sorted(own, key=lambda task: (task.order, task.name))})


def get_task(name: str, field: str = "config.task") -> Task:
    """The task of a name, an alias, an entry point, or a reference such as my_task.py:TASK; of several names with +
    between them their mixture.

    field: where the user wrote the name. Raises DoorError (a ValueError) that lists the near names, or says what is
    wrong in the file.
    """
    own = tasks()
    known = {**{task.alias: task for task in own.values() if task.alias}, **own}
    if name in known or name == AUTO:
        return known[name] if name in known else next(iter(own.values()))
    if "+" in name and not is_reference(name):
        try:
            return mixture([get_task(part, field) for part in name.split("+")])
        except DoorError:
            raise
        except ValueError as error:
            raise DoorError(f"{field}={name}: {error}") from None
    task = resolve(name, known, "task", field, GROUP)
    if not isinstance(task, Task):
        raise DoorError(f"{field}={name} is of type {type(task).__name__}, not a rrft_jax.tasks.Task")
    source = f"{field}={name}"
    inside = {part: _guarded(getattr(task, part), f"{source}: {part}") for part in ("make", "summarise")}
    return replace(task, **inside)


def question_templates() -> dict[str, str]:
    """Every template of every task that has a slot for a question, by name."""
    return {name: text for task in tasks().values() for name, text in task.templates.items() if SLOT in text}


def _guarded(function: Callable | None, what: str) -> Callable | None:
    """The same function; whatever it raises becomes a DoorError that says where in the user's file."""
    if function is None:
        return None

    @wraps(function)
    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except Exception as error:  # anyone's code
            line = user_frame(error)
            at = f" ({line})" if line else ""
            raise DoorError(f"{what} failed: {type(error).__name__}: {error}{at}") from error

    return call
