"""AndroidControl as it is published: gzipped TFRecords, an episode each, and lists of episodes by split.

    FOLDER/android_control-*              features episode_id, goal, screenshots, screenshot_widths, screenshot_heights,
                                          actions (JSON), step_instructions
    FOLDER/splits.json, test_subsplits.json    {"train": [episode ids], ...}

Without lists every episode is in one split. Scrolls have a direction in words alone, that of the page.
"""

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rrft_jax.answers.actions import DIRECTIONS, Action
from rrft_jax.data.decoding import PictureError, image_size
from rrft_jax.data.pictures import BytesPicture
from rrft_jax.data.records import Problem
from rrft_jax.data.sources.common import Found, Item, Part, once, read_json_file, source_folder, split_name
from rrft_jax.data.sources.episodes import TASK, RecordedStep, check_level, step_records
from rrft_jax.data.tfrecord import read_examples
from rrft_jax.data.values import parse_records

_FIELDS = ("episode_id", "goal", "screenshots", "actions", "step_instructions")
_BARE = {"navigate_home": "PressHome", "navigate_back": "PressBack", "wait": "Wait"}
_POINTED = {"click": "Click", "long_press": "LongPress"}


def find(folder, level: str = "high") -> Found:
    """A part for each list of episodes, by its name. Every file is read once to count its steps."""
    layout = "android_control-00000-of-00020 and so on, with splits.json"
    check_level(level)
    folder = source_folder(folder, layout)
    files = sorted(path for path in folder.glob("android_control*") if path.is_file())
    if not files:
        raise FileNotFoundError(f"--input={folder} holds no android_control*; it should hold {layout}")
    lists: dict[str, frozenset[str]] = {}
    problems: list[Problem] = []
    for name in ("splits.json", "test_subsplits.json"):
        if (folder / name).is_file():
            value, wrong = read_json_file(folder / name, name)
            problems += wrong
            for key, ids in (value if isinstance(value, dict) else {}).items():
                if isinstance(ids, list):
                    lists[split_name(key)] = frozenset(map(str, ids))
    counts, damaged = _counts(files)
    if not lists:
        lists = {"all_records": frozenset(counts)}
    parts = []
    for split, ids in lists.items():
        count = max(1, sum(number for name, number in counts.items() if name in ids) + damaged)
        read = partial(_items, files, ids, level)
        parts.append(Part(TASK, split, count, lambda read=read: once(read())))
    return Found(tuple(parts), tuple(problems))


def _counts(files: list[Path]) -> tuple[dict[str, int], int]:
    """Steps of each episode, and how many files break off, which each split reports."""
    counts: dict[str, int] = {}
    damaged = 0
    for path in files:
        try:
            for number, example in enumerate(read_examples(path)):
                name = _name(example, path, number)
                counts[name] = counts.get(name, 0) + max(1, len(example.get("actions", ())))
        except ValueError:
            damaged += 1
    return counts, damaged


def _name(example: dict[str, list], path: Path, number: int) -> str:
    return str((example.get("episode_id") or [f"{path.name}-{number}"])[0])


def _items(files: list[Path], ids: Collection[str], level: str) -> Iterator[Item]:
    for path in files:
        try:
            for number, example in enumerate(read_examples(path)):
                if (name := _name(example, path, number)) in ids:
                    yield from _episode(path.name, number, name, example, level)
        except ValueError as error:
            yield (Problem(path.name, "", "damaged file", str(error)),)


def _episode(file: str, number: int, name: str, example: dict[str, list], level: str) -> Iterator[Item]:
    where = f"record {number} (episode {name})"
    missing = [field for field in _FIELDS if not example.get(field)]
    goal = example.get("goal") or [b""]
    if missing or not isinstance(goal[0], bytes):
        yield (Problem(file, where, "missing field", f"has no {', '.join(missing)}; get the file again"),)
        return
    text = lambda value: value.decode(errors="replace") if isinstance(value, bytes) else str(value)  # noqa: E731
    screens, told = example["screenshots"], example["step_instructions"]

    def steps() -> Iterator[RecordedStep | Problem]:
        for place, said in enumerate(example["actions"]):
            here = f"{where}, step {place}"
            try:
                picture = BytesPicture(screens[place], f"{file}:{name}/{place}")
                height, width = image_size(picture)
                sides = (example.get(f"screenshot_{side}") or [] for side in ("widths", "heights"))
                stated = [side[place : place + 1] for side in sides]
                if any(stated) and stated != [[width], [height]]:
                    raise ValueError(f"the file states {stated[0]}x{stated[1]} pixels, the picture {width}x{height}")
                action = read_json_action(parse_records(said), width, height)
            except (IndexError, PictureError, ValueError, TypeError, OSError) as error:
                yield Problem(file, here, "bad step", f"{error}; get the file again or leave the step out")
                continue
            yield RecordedStep(picture, (width, height), action, text(told[place]) if place < len(told) else "", {})

    yield from step_records(file, number, name, text(goal[0]).strip(), steps(), level)


def read_json_action(value: Any, width: int, height: int) -> Action:
    """An action of AndroidControl. ValueError for none of its action space, and for a point outside the picture."""
    kind = value.get("action_type") if isinstance(value, dict) else None
    if kind in _POINTED:
        x, y = value.get("x"), value.get("y")
        if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in (x, y)):
            raise ValueError(f"{kind} has x {x!r:.40} and y {y!r:.40}, no point")
        if not (0 <= x <= width and 0 <= y <= height):
            raise ValueError(f"{kind} at ({x}, {y}) lies outside the picture of {width}x{height} pixels")
        return Action(_POINTED[kind], {"box": (float(x), float(y))})
    if kind == "scroll" and value.get("direction") in DIRECTIONS:
        return Action("Scroll", {"start": (), "end": (), "direction": value["direction"]})
    if kind in ("input_text", "type") and isinstance(value.get("text"), str):
        return Action("Type", {"content": value["text"]})
    if kind == "open_app" and isinstance(value.get("app_name"), str):
        return Action("Launch", {"app": value["app_name"], "url": ""})
    if kind in _BARE:
        return Action(_BARE[kind], {})
    raise ValueError(f"action {value!r:.80} is none of AndroidControl's")
