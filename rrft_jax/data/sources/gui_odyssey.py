"""GUI-Odyssey as it is published: an episode a file, pictures next to it, and lists of files by split.

    FOLDER/annotations/*.json    {"episode_id", "task_info": {"instruction"}, "steps": [{"screenshot", "action", "info",
                                 "low_level_instruction", "sam2_bbox"}, ...]}, points in thousandths of the sides
    FOLDER/screenshots/*.png     or --image_root
    FOLDER/splits/random_split.json    {"train": [file names], "test": [...]}: splits random_train and random_test

Without lists every episode is in one split. IMPOSSIBLE and INCOMPLETE are CallUser(), COMPLETE is Finished().
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rrft_jax.answers.actions import Action
from rrft_jax.data.decoding import PictureError, image_size
from rrft_jax.data.pictures import Pictures
from rrft_jax.data.records import Problem
from rrft_jax.data.sources.common import Found, Item, Part, once, read_json_file, source_folder, split_name
from rrft_jax.data.sources.episodes import TASK, RecordedStep, check_level, step_records

_KEYS = {"HOME": "PressHome", "BACK": "PressBack", "APPSELECT": "PressRecent"}
_ENDS = {"COMPLETE": "Finished", "INCOMPLETE": "CallUser", "IMPOSSIBLE": "CallUser"}
_POINTED = {"CLICK": "Click", "LONG_PRESS": "LongPress"}


def find(folder, image_root: str = "", level: str = "high") -> Found:
    """A part for each list of files: <name of the list>_<its key>, of "random_split" random_train and random_test."""
    layout = "annotations/*.json, screenshots/*.png and splits/*.json"
    check_level(level)
    folder = source_folder(folder, layout)
    files = sorted((folder / "annotations").glob("*.json"))
    if not files:
        raise FileNotFoundError(f"--input={folder} holds no annotations/*.json; it should hold {layout}")
    problems: list[Problem] = []
    lists: dict[str, list[Path]] = {}
    for path in sorted((folder / "splits").glob("*.json")):
        value, wrong = read_json_file(path, path.name)
        problems += wrong
        for key, names in (value if isinstance(value, dict) else {}).items():
            listed = {str(name).removesuffix(".json") for name in names} if isinstance(names, list) else set()
            lists[split_name(f"{path.stem.removesuffix('_split')}_{key}")] = [f for f in files if f.stem in listed]
    pictures = Pictures((folder / image_root,) if image_root else (folder / "screenshots", folder))
    parts = []
    for split, chosen in (lists or {"all_records": files}).items():
        count = max(1, sum(_length(path) for path in chosen))
        read = partial(_items, chosen, pictures, level)
        parts.append(Part(TASK, split, count, lambda read=read: once(read())))
    return Found(tuple(parts), tuple(problems))


def _length(path: Path) -> int:
    value, _ = read_json_file(path, path.name)
    steps = value.get("steps") if isinstance(value, dict) else None
    return max(1, len(steps)) if isinstance(steps, list) else 1


def _items(files: Sequence[Path], pictures: Pictures, level: str) -> Iterator[Item]:
    for path in files:
        value, wrong = read_json_file(path, path.name)
        told = value.get("task_info") if isinstance(value, dict) else None
        goal = told.get("instruction") if isinstance(told, dict) else None
        steps = value.get("steps") if isinstance(value, dict) else None
        if wrong:
            yield wrong
        elif not isinstance(goal, str) or not goal.strip() or not isinstance(steps, list):
            message = "has no task_info.instruction or no list of steps; get the file again"
            yield (Problem(path.name, "", "missing field", message),)
        else:
            read = (_step(path.name, place, step, pictures) for place, step in enumerate(steps))
            yield from step_records(path.name, 0, str(value.get("episode_id") or path.stem), goal.strip(), read, level)


def _step(file: str, place: int, step: Any, pictures: Pictures) -> RecordedStep | Problem:
    where = f"step {place}"
    name = step.get("screenshot") if isinstance(step, dict) else None
    picture = pictures.find(name) if isinstance(name, str) and name else None
    if picture is None:
        return Problem(file, where, "missing image", f"screenshot {name!r:.80} is not at {pictures.tried(str(name))}")
    try:
        height, width = image_size(picture)
        action = _action(step.get("action"), step.get("info"), (width, height))
        box = _box(step.get("sam2_bbox"), (width, height))
    except (PictureError, ValueError, TypeError) as error:  # the last: an action that is a list
        return Problem(file, where, "bad step", f"{error}; correct or remove the step")
    told = step.get("low_level_instruction")
    more = {"element": box} if box else {}
    return RecordedStep(picture, (width, height), action, told if isinstance(told, str) else "", more)


def _action(kind: Any, info: Any, size: tuple[int, int]) -> Action:
    key = str(info if kind == "CLICK" else kind).removeprefix("KEY_").upper()
    if key in _KEYS:
        return Action(_KEYS[key], {})
    if kind in _POINTED:
        (point,) = _points(info, 1, size)
        return Action(_POINTED[kind], {"box": point})
    if kind == "SCROLL":
        start, end = _points(info, 2, size)
        return Action("Scroll", {"start": start, "end": end, "direction": ""})
    if kind in ("TEXT", "TYPE") and isinstance(info, str):
        return Action("Type", {"content": info})
    if kind in _ENDS:
        return Action(_ENDS[kind], {"content": ""})
    raise ValueError(f"action {kind!r:.40} with info {info!r:.60} is none of GUI-Odyssey's")


def _points(info: Any, count: int, size: tuple[int, int]) -> list[tuple[float, float]]:
    if count == 1 and isinstance(info, list) and len(info) == 2 and not isinstance(info[0], list):
        info = [info]
    good = isinstance(info, list) and len(info) == count and all(isinstance(p, list) and len(p) == 2 for p in info)
    if not good or any(isinstance(v, bool) or not isinstance(v, int | float) for point in info for v in point):
        raise ValueError(f"info {info!r:.60} is not {count} point(s) [x, y]")
    if any(not 0 <= v <= 1000 for point in info for v in point):
        raise ValueError(f"info {info!r:.60} lies outside its picture: its numbers are between 0 and 1000")
    return [(x * size[0] / 1000, y * size[1] / 1000) for x, y in info]


def _box(value: Any, size: tuple[int, int]) -> list[float] | None:
    """The element's box in pixels; None where there is none."""
    if not value:
        return None
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError(f"sam2_bbox {value!r:.60} is not [x1, y1, x2, y2]")
    (x1, y1), (x2, y2) = _points([value[:2], value[2:]], 2, size)
    return [x1, y1, x2, y2]
