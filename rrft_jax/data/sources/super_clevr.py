"""Super-CLEVR as published: scenes, pictures and questions, of which the counting ones are taken.

    FOLDER/superCLEVR_scenes.json, or FOLDER/scenes/*.json     exact questions are made from these, with reasoning
    FOLDER/superCLEVR_questions_*.json                          published questions that ask for a number
    FOLDER/images/ or images.zip

Made questions are in split train, validation or test, published ones in train_questions and so on, by the picture's
number: the first 20,000 pictures are for training, the next 5,000 for validation, the rest for testing.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rrft_jax.data.example import Example
from rrft_jax.data.pictures import Archive, Pictures
from rrft_jax.data.records import Problem
from rrft_jax.data.sources.common import Found, Item, Part, once, read_json, source_folder
from rrft_jax.data.sources.super_clevr_counts import questions as make_questions
from rrft_jax.data.values import kind_of

TASK = "visual_counting"
_ENDS = {"train": 20_000, "validation": 25_000}
_QUESTIONS = "_questions"

# (file, record's number there, the record), or what is wrong with a file.
Raw = tuple[str, int, dict] | Problem


def find(folder: str | Path, per_scene: int = 16, seed: int = 0) -> Found:
    """per_scene, seed: how many questions are made from a scene, and which."""
    folder = source_folder(folder, "superCLEVR_scenes.json or scenes/, images/ or images.zip, and question files")
    files = {
        "": sorted(folder.glob("*scenes*.json")) or sorted((folder / "scenes").glob("*.json")),
        _QUESTIONS: sorted(folder.glob("*questions*.json")),
    }
    if not any(files.values()):
        raise FileNotFoundError(f"--input={folder} holds neither superCLEVR_scenes.json, nor scenes/, nor questions")
    archives = tuple(Archive(path) for path in sorted(folder.glob("*.zip")))
    pictures = Pictures((folder / "images", folder), archives)
    parts, problems = [], []
    for kind, paths in files.items():
        raw = partial(_raw, tuple(paths), "questions" if kind else "scenes")
        counts: dict[str, int] = {}
        for item in raw():
            if isinstance(item, Problem):
                problems.append(item)
            elif not kind or _is_count(item[2]):
                split = _split(item[2])
                counts[split] = counts.get(split, 0) + (1 if kind else per_scene)
        for split in sorted(counts):
            each = partial(_published, pictures) if kind else partial(_made, pictures, per_scene, seed)
            read = partial(_items, raw, split, each)
            parts.append(Part(TASK, split + kind, counts[split], lambda read=read: once(read())))
    return Found(tuple(parts), tuple(problems))


def _raw(paths: tuple[Path, ...], field: str) -> Iterator[Raw]:
    """The entries of all files: a file holds one scene, or a list under `field`."""
    for path in paths:
        value, wrong = read_json(path, path.name)
        yield from wrong
        if wrong:
            continue
        entries = value.get(field, [value] if "objects" in value else None) if isinstance(value, dict) else None
        if not isinstance(entries, list):
            yield Problem(path.name, "", "wrong type", f'holds neither a scene nor a list "{field}"; get it again')
            continue
        for number, entry in enumerate(entries):
            if isinstance(entry, dict):
                yield path.name, number, entry
            else:
                message = f"is {kind_of(entry)} where an object belongs; remove it"
                yield Problem(path.name, f"record {number}", "wrong type", message)


def _split(entry: dict) -> str:
    """By the last number in the picture's name."""
    numbers = re.findall(r"\d+", str(entry.get("image_filename", "")))
    index = int(numbers[-1]) if numbers else 0
    return next((split for split, end in _ENDS.items() if index < end), "test")


def _is_count(question: dict) -> bool:
    """Whether a question asks for a number, or has one as its answer. Most are answered by yes, no or a property."""
    asked = re.match(r"(?:.*; )?(?:how many|what number)", str(question.get("question", "")), re.I)
    return asked is not None or _is_number(question.get("answer"))


def _is_number(answer: Any) -> bool:
    return not isinstance(answer, bool) and (isinstance(answer, int) or str(answer).isdecimal())


def _items(raw: Callable[[], Iterator[Raw]], split: str, each: Callable[..., Iterator[Item]]) -> Iterator[Item]:
    for entry in raw():
        if not isinstance(entry, Problem) and _split(entry[2]) == split:
            yield from each(*entry)


def _published(pictures: Pictures, file: str, number: int, question: dict) -> Iterator[Item]:
    if not _is_count(question):
        return
    record = f"record {number}"
    image, found = _image(question, pictures)
    text, answer = question.get("question"), question.get("answer")
    if not isinstance(text, str) or not text.strip():
        found.append(("empty problem", "has no question; remove it"))
    if answer in (None, ""):
        found.append(("empty answer", "has no answer; remove it"))
    elif not _is_number(answer):
        found.append(("wrong answer", f"answer {answer!r} is no count in digits; write it so, or remove it"))
    if found:
        yield tuple(Problem(file, record, *pair) for pair in found)
        return
    kind = str(question.get("template_filename", "")).removesuffix(".json")
    metadata = {"question_type": kind, "file": file, "record": number}
    yield Example(f"{Path(file).stem}-{number:06d}", TASK, str(text), str(answer), (image,), None, metadata)


def _made(pictures: Pictures, per_scene: int, seed: int, file: str, number: int, scene: dict) -> Iterator[Item]:
    image, found = _image(scene, pictures)
    made: list[dict] = []
    if not found:
        try:
            made = make_questions(scene, per_scene, seed)
        except (KeyError, TypeError, IndexError, ValueError) as error:
            said = str(error) if isinstance(error, ValueError) else f"a field is missing or of another type ({error!r})"
            found.append(("unusable scene", f"{said}; get the scene again"))
    if found:
        yield tuple(Problem(file, f"record {number}", *pair) for pair in found)
    stem = Path(str(scene.get("image_filename"))).stem
    for place, question in enumerate(made):
        metadata = {"question_type": question["question_type"], "file": file, "record": number}
        id = f"super-clevr-{stem}-{place:03d}"
        yield Example(id, TASK, question["problem"], question["answer"], (image,), question["cot"], metadata)


def _image(entry: dict, pictures: Pictures) -> tuple[Any, list[tuple[str, str]]]:
    name = entry.get("image_filename")
    if not isinstance(name, str) or not name:
        return None, [("missing image", "has no image_filename; remove it")]
    image = pictures.find(name)
    if image is None:
        return None, [("missing image", f"image {name!r} is not at {pictures.tried(name)}; restore it")]
    return image, []
