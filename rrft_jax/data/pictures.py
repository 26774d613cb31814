"""Where the pictures of records are: files in folders, members of zip archives read in place, bytes of a table.

A stored picture is an object with `read() -> bytes` of an encoded image, which raises OSError; its str names it in
messages. Where it has a `key`, equal pictures share it.
"""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

MAX_BYTES = 2**28  # of a picture in an archive, where a few kilobytes can stand for any number
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class ZipPicture:
    """A member of an archive. The open archive may be shared by threads."""

    archive: zipfile.ZipFile = field(repr=False, compare=False)
    path: str
    member: str

    def __str__(self) -> str:
        return f"{self.path}:{self.member}"

    def read(self) -> bytes:
        size = self.archive.getinfo(self.member).file_size  # never unpacks more than the stated size
        if size > MAX_BYTES:
            raise OSError(f"{self}: unpacks to {size} bytes, more than a picture can have ({MAX_BYTES})")
        try:
            return self.archive.read(self.member)
        except _BROKEN as error:
            raise OSError(f"{self}: cannot be read from its archive ({error}); get the archive again") from error


@dataclass(frozen=True)
class BytesPicture:
    """An encoded image that is in memory, such as a cell of a Parquet table."""

    data: bytes = field(repr=False)
    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def key(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def read(self) -> bytes:
        return self.data


def picture_file(image: Any) -> Any:
    """What PIL opens: a file of the bytes where the picture is stored elsewhere, else the path as it is."""
    return io.BytesIO(image.read()) if hasattr(image, "read") else image


def picture_key(image: Any) -> str:
    """An identity of the picture: equal for equal pictures as far as the key, or else the path, shows it."""
    return getattr(image, "key", None) or str(image)


class Archive:
    """The pictures of one zip file, by their path inside it, with or without a top folder named like the archive."""

    def __init__(self, path: Path):
        """Raises ValueError where the file is no complete zip archive."""
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            message = f"{path}: not a complete zip archive ({error}); get it again or unpack it next to itself"
            raise ValueError(message) from error
        self._members = frozenset(self._zip.namelist())

    @property
    def path(self) -> Path:
        return self._path

    def find(self, name: str) -> ZipPicture | None:
        name = name.removeprefix("./").lstrip("/")
        top = f"{self.path.stem}/"
        for member in (name, top + name, name.removeprefix(top)):
            if member in self._members and not member.endswith("/"):
                return ZipPicture(self._zip, str(self.path), member)
        return None


class Named(Protocol):
    """Stored pictures by their names in one file."""

    @property
    def path(self) -> Path: ...

    def find(self, name: str, /) -> Any:
        """None where there is none of this name."""
        ...


@dataclass(frozen=True)
class Pictures:
    """Finds pictures by the names that records give them: in folders first, then in archives, in the order given."""

    roots: Sequence[Path]
    archives: Sequence[Named] = ()

    def find(self, name: str) -> Any:
        """The path of a file, a stored picture, or None."""
        for root in self.roots:
            if _is_file(path := root / name):
                return str(path)
        return next((hit for archive in self.archives if (hit := archive.find(name))), None)

    def tried(self, name: str) -> str:
        """Every place where `find` looks, in words."""
        places = (*(str(root / name) for root in self.roots), *(f"in {a.path}" for a in self.archives))
        return ", ".join(dict.fromkeys(places))  # an absolute name is the same below every root


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the file system refuses the name, or the folder may not be read
        return False
