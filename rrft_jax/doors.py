"""How a user's own code comes in: a registered name, `package.module:NAME`, or `folder/file.py:NAME`."""

import difflib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any


class DoorError(ValueError):
    """What a reference names cannot be had; the message says where to look, in the user's own file and line."""


def is_reference(name: str) -> bool:
    """Whether a name points to somebody's code (`module:NAME`, `file.py:NAME`) instead of being a registered one."""
    return ":" in name or name.endswith(".py")


def file_of(reference: str) -> Path | None:
    """The file that a reference (`my_task.py`, `my_task.py:NAME`) leads to, where there is one."""
    path = Path(reference if reference.endswith(".py") else reference.rpartition(":")[0]).expanduser()
    return path if path.suffix == ".py" and path.is_file() else None


def resolve(name: str, known: Mapping[str, Any], what: str, field: str, group: str = "") -> Any:
    """The object behind `name`.

    known: the package's own, by name. what: the kind in words, such as "task", also the name that is taken where a
    file gives none (`my_task.py` -> TASK). field: where the user wrote it, such as "config.task", for errors.
    group: the entry-point group in which installed packages register more names. Raises DoorError.
    """
    if name in known:
        return known[name]
    if is_reference(name):
        return _from_reference(name, what, field)
    found = {point.name: point for point in entry_points(group=group)} if group else {}
    if name in found:
        return _guarded(found[name].load, f"{field}={name} (entry point {found[name].value})", None)
    names = [*known, *found]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
    raise DoorError(
        f"{field}={name!r} is no {what}; did you mean {', '.join(near)}? Your own comes from a file "
        f"(my_{what}.py:{what.upper()}) or a module (package.module:{what.upper()})"
    )


def load_module(place: str, field: str) -> ModuleType:
    """The module in a file (`.py`) or of a dotted name. A file is read once a process; its folder can be imported from,
    as when Python runs it."""
    if not place.endswith(".py"):
        return _guarded(lambda: importlib.import_module(place), f"{field}: module {place}", place)
    path = Path(place).expanduser().absolute()
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], n=3, cutoff=0.5)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise DoorError(f"{field}: file {place} does not exist (looked for {path}){hint}")
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise DoorError(f"{field}: {place} is no Python file")
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    sys.modules[name] = module  # dataclasses and pickle look modules up by name
    try:
        _guarded(lambda: loader.exec_module(module), f"{field}: {place}", str(path))
    except DoorError:
        del sys.modules[name]
        raise
    return module


def user_frame(error: BaseException, inside: str | None = None) -> str:
    """`file:line` of the last frame of an error that lies in user code: in the file `inside`, or outside this package
    and the libraries; "" where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    package, libraries = str(Path(__file__).parent), ("site-packages", "dist-packages", "importlib", "<frozen")
    foreign = lambda name: name.startswith(package) or any(part in name for part in libraries)  # noqa: E731
    own = [f for f in frames if (f.filename == inside if inside else not foreign(f.filename))]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""


def describe(error: BaseException, inside: str | None = None) -> str:
    """One line: the type of an error, what it says, and where in user code it was raised (`user_frame`)."""
    where = user_frame(error, inside)
    return f"{type(error).__name__}: {error}{f' ({where})' if where else ''}"


def definition(function: Any) -> str:
    """`file:line` where a function or the class of a callable object is written; "" where Python does not know."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not hasattr(function, "__code__"):  # an object: its class's __call__
        function = type(function).__call__
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else ""


def _from_reference(name: str, what: str, field: str) -> Any:
    place, _, attribute = name.rpartition(":") if ":" in name else (name, "", "")
    module = load_module(place, field)
    attribute = attribute or what.upper()
    if not hasattr(module, attribute):
        names = [n for n in vars(module) if not n.startswith("_")]
        near = difflib.get_close_matches(attribute, names, n=3, cutoff=0.4) or names[:8]
        raise DoorError(f"{field}={name}: {place} has no {attribute}; it defines {', '.join(near) or 'nothing'}")
    return getattr(module, attribute)


def _guarded(load: Any, what: str, inside: str | None) -> Any:
    try:
        return load()
    except Exception as error:  # anyone's code: whatever it raises is told with its own file and line
        where = inside if inside and inside.endswith(".py") else None
        raise DoorError(f"{what} cannot be loaded: {describe(error, where)}") from error
