"""A disk that is full: how the libraries say it, one line about it, and silence of what repeats it."""

import errno
import logging
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# EFBIG: the process may write no larger files (ulimit -f).
_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WORDS = ("No space left on device", "Disk quota exceeded", "File too large")  # of libraries that raise no OSError
MIB = 2**20


class NoRoomError(OSError):
    """A disk is full; the message says in one line what could not be written and where."""


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is a disk without room."""
    return _first(error) is not None


def _first(error: BaseException | None) -> BaseException | None:
    """The error itself, or the first of those that caused it, that says so."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _ERRORS or any(word in str(error) for word in _WORDS):
            return error
        error = error.__cause__ or error.__context__
    return None


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def wanted_room(what: str, wanted: int, folder: Path) -> str:
    """One line: `what` takes `wanted` bytes in `folder`, and how many are missing there."""
    free = free_bytes(folder)
    missing = f" ({(wanted - free) / MIB:,.1f} MiB are missing)" if wanted > free else ""
    return (
        f"{what} takes {wanted / MIB:,.1f} MiB, and {free / MIB:,.1f} MiB are free at {folder}{missing}: "
        "make room there, then resume."
    )


def no_room(error: BaseException, folder: Path) -> str:
    """One line about a write below `folder` that a full disk refused."""
    found = _first(error) or error  # the outer ones may speak of something else
    file = getattr(found, "filename", None)
    what = f"{file} cannot be written" if file else "a file cannot be written"
    reason = getattr(found, "strerror", None) or next((word for word in _WORDS if word in str(found)), found)
    free = f"{free_bytes(folder) / MIB:,.1f} MiB are free"
    return f"{what} ({reason}; {free} at {folder}): make room there, then resume."


@contextmanager
def naming_full_disk(folder: Path) -> Generator[None]:
    """Within this context an error of a full disk becomes a `NoRoomError` about what was written below `folder`."""
    try:
        yield
    except NoRoomError:
        raise
    except Exception as error:  # of many kinds, as the storage libraries have them
        if not is_full(error):
            raise
        raise NoRoomError(no_room(error, folder)) from error


@contextmanager
def quiet_threads() -> Generator[None]:
    """Within this context the threads of Orbax and tensorstore print no traceback of an error that the save raises.

    After an error they stay quiet: some report it when the save has long returned.
    """
    log, shown = logging.getLogger("absl"), sys.unraisablehook

    def hook(found: Any) -> None:
        if str(found.exc_value) != "Event loop is closed":  # a write that failed after the one that was raised
            shown(found)

    log.addFilter(_raised_anyway)
    sys.unraisablehook = hook
    yield
    sys.unraisablehook = shown
    log.removeFilter(_raised_anyway)


def _raised_anyway(record: logging.LogRecord) -> bool:
    return "_SignalingThread.run() raised an exception" not in record.getMessage()
