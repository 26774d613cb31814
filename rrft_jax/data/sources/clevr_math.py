"""CLEVR-Math as published: question files in CLEVR's form, and the pictures of CLEVR v1.0.

    FOLDER/clevr-math-train.json, clevr-math-val.json, clevr-math-test.json
    FOLDER/CLEVR_v1.0/images/<split>/<image_filename>, or CLEVR_v1.0.zip; test pictures also in another zip

Questions have no ids and no reasoning. An id here is the file's name and the question's place in it.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rrft_jax.data.example import Example
from rrft_jax.data.pictures import Archive, Pictures
from rrft_jax.data.records import Problem
from rrft_jax.data.sources.common import Found, Item, Part, once, read_json, source_folder
from rrft_jax.data.values import kind_of

TASK = "visual_counting"
_SPLITS = {"train": "train", "val": "validation", "test": "test"}


def find(folder: str | Path) -> Found:
    """One part for each split, which the end of a question file's name tells; several files may be of one."""
    layout = "clevr-math-train.json, -val.json or -test.json and CLEVR_v1.0/images or CLEVR_v1.0.zip"
    folder = source_folder(folder, layout)
    files = [path for path in sorted(folder.glob("*.json")) if path.stem.rpartition("-")[2] in _SPLITS]
    if not files:
        raise FileNotFoundError(f"--input={folder} holds no file *-train.json, *-val.json or *-test.json; put {layout}")
    archives = tuple(Archive(path) for path in sorted(folder.glob("*.zip")))
    pictures = Pictures((folder / "CLEVR_v1.0" / "images", folder / "images", folder), archives)
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(_SPLITS[path.stem.rpartition("-")[2]], []).append(path)
    parts = []
    for split, paths in groups.items():
        count = sum(max(1, len(_questions(path)[0])) for path in paths)
        read = partial(_items, tuple(paths), pictures)
        parts.append(Part(TASK, split, count, lambda read=read: once(read())))
    return Found(tuple(parts))


def _questions(path: Path) -> tuple[list, tuple[Problem, ...]]:
    value, wrong = read_json(path, path.name)
    if wrong:
        return [], wrong
    questions = value.get("questions") if isinstance(value, dict) else None
    if not isinstance(questions, list):
        message = 'holds no list "questions"; CLEVR-Math\'s files are {"info": ..., "questions": [...]}'
        return [], (Problem(path.name, "", "wrong type", message),)
    return questions, ()


def _items(paths: tuple[Path, ...], pictures: Pictures) -> Iterator[Item]:
    for path in paths:
        questions, wrong = _questions(path)
        if wrong:
            yield wrong
        for number, question in enumerate(questions):
            yield _item(question, path, number, pictures)


def _item(question: Any, path: Path, number: int, pictures: Pictures) -> Item:
    found: list[tuple[str, str]] = []
    if not isinstance(question, dict):
        found.append(("wrong type", f"is {kind_of(question)} where an object with question and answer belongs"))
        question = {}
    text, answer, name = (question.get(key) for key in ("question", "answer", "image_filename"))
    image = None
    if not found:
        if not isinstance(text, str) or not text.strip():
            found.append(("empty problem", "has no question; remove the record"))
        if isinstance(answer, str) and answer.strip().isdecimal():
            answer = int(answer)
        if isinstance(answer, bool) or not isinstance(answer, int):
            kind = "empty answer" if answer in (None, "") else "wrong type"
            found.append((kind, f"answer is {kind_of(answer)}; it must be the number that is counted"))
        image, missing = _image(name, question.get("split"), pictures)
        found += missing
    if found:
        return tuple(Problem(path.name, f"record {number}", *pair) for pair in found)
    metadata = {
        "question_type": str(question.get("template_filename", "")).removesuffix(".json"),
        "file": path.name,
        "record": number,
    }
    return Example(f"{path.stem}-{number:06d}", TASK, str(text), str(answer), (image,), None, metadata)


def _image(name: Any, split: Any, pictures: Pictures) -> tuple[Any, list[tuple[str, str]]]:
    if not isinstance(name, str) or not name:
        return None, [("missing image", "has no image_filename; remove the record")]
    tries = [f"{split}/{name}", f"CLEVR_v1.0/images/{split}/{name}", name] if isinstance(split, str) else [name]
    image = next((hit for path in tries if (hit := pictures.find(path))), None)
    if image is None:
        return None, [("missing image", f"image {tries[0]!r} is not at {pictures.tried(tries[0])}; get the pictures")]
    return image, []
