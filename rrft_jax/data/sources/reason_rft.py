"""Reason-RFT-CoT-Dataset as published: lists of records in JSON files, pictures in folders or in zips next to them.

    FOLDER/train_jsons/A3-Visual-Counting-train-35k-cot.json     or in FOLDER itself
    FOLDER/train_images.zip, test_images.zip                     or the folders train_images, test_images

A file's name tells task and split. Records have the META, RL or TEST fields (`rrft_jax.data.records`), or are
conversations as LLaMA-Factory reads them, of which question, reasoning and answer are taken.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rrft_jax.data.pictures import Archive, Pictures
from rrft_jax.data.records import IMAGE_FOLDERS, load_list, parse_record
from rrft_jax.data.sources.common import Found, Item, Part, once, source_folder, split_name, task_in, unknown_task

_PAPER = re.compile(r"^(?:a\d-)?(?:visual-counting|structure-perception|spatial-transformation)-(.+)$")
_SPLITS = {"train": "train", "id-test": "test", "ood-test": "test_ood",
           "ood-left-test": "test_left", "ood-right-test": "test_right"}  # fmt: skip
# The names that the authors' evaluation scripts give the test files.
_TESTS = {"clevr-math": "test", "super-clevr": "test_ood", "geomath": "test", "geometry3k": "test_ood",
          "trance": "test", "trance-left": "test_left", "trance-right": "test_right"}  # fmt: skip
_ABLATIONS = ("ai2d", "scienceqa", "gvlqa", "puzzlevqa", "iconqa", "raven")


def find(folder: str | Path, task: str = "", image_root: str = "") -> Found:
    """The parts of a downloaded folder, one for each task and split that a file is there for.

    task: only this task; files whose names tell no task are then taken for it.
    image_root: a folder or zip where image paths start, instead of those named above; relative to `folder`.
    """
    layout = "train_jsons/*.json and test_jsons/*.json, or the JSON files themselves, and their images"
    folder = source_folder(folder, layout)
    files = [p for p in sorted(folder.glob("*.json")) if p.name != "dataset_info.json"]
    files += [p for sub in sorted(folder.glob("*json*")) if sub.is_dir() for p in sorted(sub.glob("*.json"))]
    if not files:
        raise FileNotFoundError(f"--input={folder} holds no JSON file; it should hold {layout}")
    groups: dict[tuple[str, str], list[Path]] = {}
    problems, aside = [], []
    for path in files:
        name = str(path.relative_to(folder))
        if any(word in path.stem.lower() for word in _ABLATIONS):
            aside.append(f"{name}: a set of the paper's ablations, of none of the tasks here")
            continue
        named, split = classify(path.stem)
        if not (named or task):
            problems.append(unknown_task(name, "", "its name tells no task"))
        elif not task or (named or task) == task:
            groups.setdefault((named or task, split), []).append(path)
        else:
            aside.append(f"{name}: of {named}, not asked for")
    pictures = partial(_pictures, folder, image_root)
    parts = []
    for (name, split), paths in groups.items():
        # Counting means reading; a file that cannot be read still is one item, its problem.
        count = sum(max(1, len(load_list(path)[0])) for path in paths)
        read = partial(_items, tuple(paths), pictures(split), name)
        parts.append(Part(name, split, count, lambda read=read: once(read())))
    return Found(tuple(parts), tuple(problems), tuple(aside))


def classify(stem: str) -> tuple[str, str]:
    """(task, split) of a file's name; "" for a task that it does not tell.

    The paper's three training files become split train, its tests test, test_ood, test_left and test_right. Any other
    file, such as one of 1.6k conversations, is a split under its own name: it repeats records of the others.
    """
    name = stem.lower().replace("_", "-")
    if match := _PAPER.match(name):
        rest = match.group(1)
        for words, split in _SPLITS.items():
            if re.fullmatch(rf"{words}(?:-[0-9k]+)?(?:-cot)?", rest):
                return task_in(name), split
    if name in _TESTS:
        return task_in(name), _TESTS[name]
    return task_in(name), split_name(stem)


def _items(paths: tuple[Path, ...], pictures: Pictures, task: str) -> Iterator[Item]:
    for path in paths:
        records, wrong = load_list(path)
        if wrong:
            yield wrong
        for number, record in enumerate(records):
            if isinstance(record, dict) and isinstance(answer := record.get("answer"), list):
                if all(isinstance(a, str) for a in answer):
                    record = {**record, "answer": ", ".join(answer)}  # some lists of functions are lists in JSON too
            example, problems = parse_record(record, pictures, task, path.name, number)
            yield example or problems


def _pictures(folder: Path, image_root: str, split: str) -> Pictures:
    """Training records look among training pictures first, tests among the others: names may be used twice."""
    if image_root:
        root = folder / Path(image_root).expanduser()
        if root.suffix == ".zip" and root.is_file():
            return Pictures((), (Archive(root),))
        if not root.is_dir():
            raise FileNotFoundError(f"--image_root={root} is neither a folder nor a zip")
        return Pictures((root,))
    first = "test" if split.startswith("test") else "train"
    names = dict.fromkeys((*IMAGE_FOLDERS, f"{first}_images", "train_images", "test_images", "image"))
    order = sorted(names, key=lambda name: (name != f"{first}_images", name.endswith("_images")))
    archives = sorted(folder.glob("*.zip"), key=lambda path: (not path.name.startswith(first), path.name))
    return Pictures(tuple(folder / name for name in order), tuple(Archive(path) for path in archives))
