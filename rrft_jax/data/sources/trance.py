"""TRANCE in the layout of TVR: samples as JSON, and pictures of the first state and of the last from three cameras.

    FOLDER/data.jsonl (a sample a line), or *.json (a sample, or a list of them, in each)
    FOLDER/image/<name>, images/<name> or <name>

The last state is seen by the centre camera in split train and test, by the left and right ones in train_left and so on.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from rrft_jax.data.example import Example
from rrft_jax.data.pictures import Archive, Pictures
from rrft_jax.data.records import Problem
from rrft_jax.data.sources.common import Found, Item, Part, once, read_json, read_lines, source_folder
from rrft_jax.data.trance_text import answer_text, problem_text
from rrft_jax.data.values import kind_of

TASK = "spatial_transformation"
CAMERAS = {"": "Camera_Center", "_left": "Camera_Left", "_right": "Camera_Right"}
_FIELDS = "states and transformations"
TRAINED = 500_000  # TVR trains on the samples below this index and tests on the others

Sample = tuple[str, int, dict] | Problem  # (file, its number there, the sample), or what is wrong


def find(folder: str | Path) -> Found:
    """Parts train and test, and each with the ending _left and _right, as far as samples and views are there."""
    folder = source_folder(folder, "data.jsonl, or JSON files of samples, and the folder image")
    files = sorted(folder.glob("*.jsonl")) + sorted(folder.glob("*.json"))
    archives = tuple(Archive(path) for path in sorted(folder.glob("*.zip")))
    pictures = Pictures((folder / "image", folder / "images", folder), archives)
    samples = partial(_samples, tuple(files))
    counts: dict[str, int] = {}
    problems: list[Problem] = []
    for sample in samples():
        if isinstance(sample, Problem):
            problems.append(sample)
            continue
        for split in _splits(sample[2]):
            counts[split] = counts.get(split, 0) + 1
    if not counts and not problems:
        raise FileNotFoundError(f"--input={folder} holds no sample: a JSON object with states and transformations")
    parts = []
    for split in sorted(counts):
        read = partial(_items, samples, split, pictures)
        parts.append(Part(TASK, split, counts[split], lambda read=read: once(read())))
    return Found(tuple(parts), tuple(problems))


def _samples(files: Iterable[Path]) -> Iterator[Sample]:
    """(file, its number there, sample), or what is wrong with a line or a file. A JSON file of an object without states
    is skipped: TVR keeps tables of properties next to the samples."""
    for path in files:
        if path.suffix == ".jsonl":
            for number, value in read_lines(path, _FIELDS):
                yield value if isinstance(value, Problem) else (path.name, number, value)
            continue
        value, wrong = read_json(path, path.name)
        yield from wrong
        if isinstance(value, list):
            yield from (_sample(path.name, number, sample) for number, sample in enumerate(value))
        elif isinstance(value, dict) and "states" in value:
            yield path.name, 0, value


def _sample(file: str, number: int, sample: Any) -> Sample:
    if not isinstance(sample, dict):
        message = f"is {kind_of(sample)} where an object with {_FIELDS} belongs"
        return Problem(file, f"record {number}", "wrong type", message)
    return file, number, sample


def _splits(sample: dict) -> list[str]:
    """The splits a sample is in: a view that it does not list leaves it out of the view's split only."""
    index = sample.get("idx")
    name = "test" if isinstance(index, int) and index >= TRAINED else "train"
    views = _views(sample)
    return [name + end for end, camera in CAMERAS.items() if camera in views] or [name]


def _views(sample: dict) -> dict:
    states = sample.get("states")
    last = states[-1] if isinstance(states, list) and states else None
    images = last.get("images") if isinstance(last, dict) else None
    return images if isinstance(images, dict) else {}


def _items(samples: Callable[[], Iterator[Sample]], split: str, pictures: Pictures) -> Iterator[Item]:
    end = next(end for end in reversed(CAMERAS) if split.endswith(end))
    for sample in samples():
        if not isinstance(sample, Problem) and split in _splits(sample[2]):
            yield _item(*sample, CAMERAS[end], pictures)


def _item(file: str, number: int, sample: dict, camera: str, pictures: Pictures) -> Item:
    found: list[tuple[str, str]] = []
    index = sample.get("idx")
    states, changes = sample.get("states") or [], sample.get("transformations") or []
    record = f"record {number} (idx {index!r})"
    if not isinstance(index, int):
        found.append(("missing field", "has no idx; number the samples"))
    if not isinstance(changes, list) or not changes:
        found.append(("empty answer", "has no transformations; remove the sample"))
    if not isinstance(states, list) or not states or not isinstance(states[0], dict):
        found.append(("missing field", "has no states; remove the sample"))
    if found:
        return tuple(Problem(file, record, *pair) for pair in found)
    try:
        objects = states[0].get("objects", [])
        problem, answer = problem_text(objects), answer_text(changes)
    except (ValueError, AttributeError, TypeError) as error:
        return (Problem(file, record, "wrong type", f"{error}; correct or remove the sample"),)
    if strange := [change["obj_idx"] for change in changes if change["obj_idx"] >= len(objects)]:
        message = f"changes object {strange[0]} of {len(objects)}, counted from 0; correct or remove the sample"
        return (Problem(file, record, "wrong answer", message),)
    first = states[0].get("images")
    names = (first.get("Camera_Center") if isinstance(first, dict) else None, _views(sample).get(camera))
    images = tuple(
        _image(name, camera, pictures, found) for name, camera in zip(names, ("initial", camera), strict=True)
    )
    if found:
        return tuple(Problem(file, record, *pair) for pair in found)
    metadata = {"camera": camera, "steps": len(changes), "file": file, "record": number}
    return Example(f"trance-{index:06d}-{camera[7]}", TASK, problem, answer, images, None, metadata)


def _image(name: Any, which: str, pictures: Pictures, found: list) -> Any:
    """By its path, else by its bare name: the published example names its pictures by where a web page had them."""
    if not isinstance(name, str) or not name:
        found.append(("missing image", f"names no {which} picture; remove the sample"))
        return None
    bare = PurePosixPath(name).name
    image = next((hit for path in (name.lstrip("/"), bare) if (hit := pictures.find(path))), None)
    if image is None:
        found.append(("missing image", f"image {bare!r} is not at {pictures.tried(bare)}; restore it"))
    return image
