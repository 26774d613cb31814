"""Tar files in the layout of WebDataset: members of one key, 000123.json and 000123.jpg, are one record.

    FILE.tar, FOLDER with *.tar, or a pattern: shards/train-*.tar, shards/train-{000..012}.tar

The fields of KEY.json are the record's; KEY.answer.txt is its answer, and KEY.txt or KEY.cls a column of that name,
which config.data.columns may give to a field (problem=txt). Pictures are members with an image's ending, in the order
of their names, or members that the JSON names. Records are in the order of their first members; the id is the key
unless there is another.

Headers are read once; a picture is read from its place when it is asked for. Nothing is ever unpacked: a member's name
is a name within its file alone. A link, a device or a name that leads out of the file is listed and left out, and so
are members without their other half and what lies behind damage.
"""

import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from rrft_jax.data.pictures import MAX_BYTES, Pictures
from rrft_jax.data.records import Problem
from rrft_jax.data.sources.common import Found
from rrft_jax.data.sources.hub import as_record
from rrft_jax.data.sources.tables import find_tables
from rrft_jax.data.values import parse_records
from rrft_jax.files import check_regular

ENDING = ".tar"
PACKED = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst")
IMAGES = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "avif")
TEXTS = ("txt", "cls")
UNREAD = ("mp4", "webm", "avi", "mov", "mkv", "mp3", "wav", "flac", "ogg")  # shown to models, not read here
MAX_TEXT = 2**24  # bytes of a record's JSON or text
_BLOCK = 512
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class TarPicture:
    """A member at its place in a file, which is opened for each reading, so threads may share it."""

    path: str
    member: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.path}:{self.member}"

    def read(self) -> bytes:
        if self.size > MAX_BYTES:
            raise OSError(f"{self}: has {self.size} bytes, more than a picture can have ({MAX_BYTES})")
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            raise OSError(f"{self}: its file ends before it does; get the file again")
        return data


@dataclass(frozen=True)
class Tar:
    """The regular members of one file by their names, in order, and what is wrong with others."""

    path: Path
    members: dict[str, TarPicture]
    problems: tuple[Problem, ...]

    def find(self, name: str) -> TarPicture | None:
        return self.members.get(name.removeprefix("./"))


def open_tar(path: Path) -> Tar:
    """Reads the headers. Raises no error: whatever is wrong becomes a Problem, and what lies before it is kept."""
    members: dict[str, TarPicture] = {}
    problems: list[Problem] = []
    last, end = "", 0

    def wrong(member: str, kind: str, message: str) -> None:
        problems.append(Problem(path.name, member and f"member {member}", kind, message))

    try:
        check_regular(path)
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.size < 0:  # tarfile would go back, and read the same headers for ever
                    raise ValueError(f"member {member.name} has {member.size} bytes")
                last, end = member.name, member.offset_data + -(-member.size // _BLOCK) * _BLOCK * member.isreg()
                name = member.name.removeprefix("./")
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    wrong(member.name, "not read", "is a link or no plain file; store the file itself")
                elif name.startswith("/") or ".." in name.split("/") or "\0" in name:
                    wrong(member.name, "not read", "has a name that leads out of the file; rename it")
                elif name in members:
                    wrong(member.name, "repeated key", "is there twice; keep the right one")
                else:
                    members[name] = TarPicture(str(path), name, member.offset_data, member.size)
        with open(path, "rb") as file:  # tarfile takes a damaged header for the end
            file.seek(end)
            mark, more = file.read(_BLOCK), False
            while mark == bytes(_BLOCK) and not more and (rest := file.read(2**20)):
                more = any(rest)
            room = file.seek(0, 2)
        members = {name: one for name, one in members.items() if one.offset + one.size <= room}
        if mark != bytes(_BLOCK):
            behind = f"behind member {last} " if last else ""
            wrong("", "bad tar", f"is damaged or cut short {behind}(no end mark there); get or write it again")
        elif more:
            what = "holds more behind its end, which is not read"
            wrong("", "bad tar", f"{what}; keep tar files that were joined apart, or write one anew")
    except Exception as error:  # of many kinds: tarfile checks little of what a header says
        room = path.stat().st_size if path.is_file() else 0
        members = {name: one for name, one in members.items() if one.offset + one.size <= room}
        reason = " ".join(str(error).split()) or type(error).__name__
        behind = f" behind member {last}" if last else ""
        wrong("", "bad tar", f"is no whole tar file{behind} ({reason}); get or write it again")
    return Tar(path, members, tuple(problems))


def tar_pictures(path: Path) -> Pictures:
    """Finds the members of this file, and nothing outside it."""
    return Pictures((), (open_tar(path),))


def tar_rows(
    path: Path, columns: tuple[str, ...] | None, mapping: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[int, dict | Problem]]:
    """The numbered records of a file, or what is wrong with them. mapping: field -> column, as config.data.columns."""
    del columns  # the JSON of a record is read whole or not at all
    tar = open_tar(path)
    samples: dict[str, dict[str, TarPicture]] = {}
    twice: dict[str, str] = {}
    for name, member in tar.members.items():
        folder, _, file = name.rpartition("/")
        stem, _, ending = file.partition(".")
        key = f"{folder}/{stem}" if folder else stem
        if samples.setdefault(key, {}).setdefault(ending.lower(), member) is not member:
            twice[key] = f"has {name} and {samples[key][ending.lower()].member}; keep the right one"
    for problem in tar.problems:
        yield -1, problem
    for number, (key, parts) in enumerate(samples.items()):
        try:
            if key in twice:
                raise ValueError(twice[key])
            yield number, as_record(_record(key, parts), mapping, path.stem, number)
        except (ValueError, OSError) as error:
            yield number, Problem(path.name, f"record {number} (member {key})", "bad record", str(error))


def _record(key: str, parts: dict[str, TarPicture]) -> dict:
    """The fields of one key's members. ValueError says what is missing or cannot be read."""
    record: dict = {}
    images = [parts[ending].member for ending in sorted(parts, key=_by_number) if ending.rpartition(".")[2] in IMAGES]
    if unread := [member.member for ending, member in parts.items() if ending.rpartition(".")[2] in UNREAD]:
        raise ValueError(f"holds {', '.join(unread)}, which is not read here; remove it, or the record")
    texts = {ending: member for ending, member in parts.items() if ending.rpartition(".")[2] in ("json", *TEXTS)}
    if not texts:
        there = ", ".join(part.member for part in parts.values())
        raise ValueError(f"holds {there} and no {key}.json with the question and the answer; add it or remove these")
    for ending, member in texts.items():
        if member.size > MAX_TEXT:
            raise ValueError(f"{member.member} has {member.size:,} bytes, more than a record can have ({MAX_TEXT:,})")
        content = member.read()
        if ending.rpartition(".")[2] == "json":
            value = parse_records(content, 0)
            if not isinstance(value, dict):
                raise ValueError(f"{member.member} holds no JSON object; write the record's fields into one")
        else:
            try:
                value = {ending.rpartition(".")[0] or ending: content.decode("utf-8-sig").strip()}
            except UnicodeDecodeError as error:
                raise ValueError(f"{member.member} is not UTF-8 text at byte {error.start}; save it as UTF-8") from None
        if differ := [field for field in value if field in record and str(record[field]) != str(value[field])]:
            raise ValueError(f"{member.member} and another member differ in {differ[0]}; keep the right one")
        record |= value
    named = [name for name in ("image", "images", "messages", "conversations", "prompt") if name in record]
    if not images and not named:
        raise ValueError(
            f"has no picture beside {key}.json and names none; add {key}.jpg, or \"images\": [] for a question without"
        )
    if images and not (record.get("image") or record.get("images")):
        record["images"] = images
    record.setdefault("id", key)
    return record


def _by_number(ending: str) -> list[tuple[str, int]]:
    """Sorts 2.png before 10.png."""
    return [(word, int(digits or 0)) for word, digits in re.findall(r"(\D*)(\d*)", ending)]


def expanded(pattern: str) -> list[Path]:
    """The files of a pattern with *, ? or {000..012}, in the order of their names; [] where it is none."""
    if (found := _RANGE.search(pattern)) is not None:
        low, high = found.groups()
        names = [f"{k:0{len(low)}}" for k in range(int(low), min(int(high), int(low) + 10**5) + 1)]
        each = (expanded(pattern[: found.start()] + name + pattern[found.end() :]) for name in names)
        return [path for paths in each for path in paths]
    path = Path(pattern).expanduser()
    if any(mark in path.name for mark in "*?"):
        return sorted(path.parent.glob(path.name))
    return [path] if path.suffix == ENDING else []


def is_pattern(name: str) -> bool:
    return any(mark in Path(name).name for mark in "*?") or _RANGE.search(name) is not None


def refuse_streams(name: str) -> None:
    """ValueError for a tar that would be read from elsewhere, or cannot be read at a place."""
    if "://" in name or name.startswith("pipe:"):
        raise ValueError(
            f"data={name}: sets are not streamed, since the order of records is a function of their number, the same "
            "after a resume and on any number of processes; download the files and name them"
        )
    if name.lower().endswith(PACKED):
        raise ValueError(f"data={name} is compressed, so no member can be read at its place; unpack it to a .tar first")


def find(folder: str | Path, task: str = "") -> Found:
    """As of any table (`sources.tables`), of *.tar. task: of all records; without it each record names its own."""
    refuse_streams(str(folder))
    return find_tables(folder, "tar", tar_rows, task, "", tar_pictures)
