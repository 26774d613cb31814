"""Geometry3K in the layout of InterGPS: one folder a problem, with data.json and img_diagram.png.

    FOLDER/<split>/<id>/data.json    or FOLDER/<id>/data.json

Every published problem has four choices and the letter of the right one.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rrft_jax.data.example import Example
from rrft_jax.data.records import Problem
from rrft_jax.data.sources.common import Found, Item, Part, once, read_json, source_folder

TASK = "structure_perception"
ANSWERS = ("letter", "number")
LETTERS = "ABCDEFGH"
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_KEPT = ("choices", "precise_value", "problem_type_graph", "problem_type_goal", "source")


def find(folder: str | Path, answers: str = "letter") -> Found:
    """One part for each split, in ascending order of ids.

    answers: "letter" asks with the choices and wants a letter; "number" asks without them and wants what the right
    choice says ("5\\sqrt{3}"). A problem without choices keeps its own answer either way.
    """
    if answers not in ANSWERS:
        raise ValueError(f"--answers={answers} is none of {', '.join(ANSWERS)}")
    folder = source_folder(folder, "folders <id> with data.json and img_diagram.png, or train, val and test of them")
    problems = sorted(folder.glob("*/data.json")) + sorted(folder.glob("*/*/data.json"))
    if not problems:
        raise FileNotFoundError(f"--input={folder} holds no <id>/data.json and no <split>/<id>/data.json")
    groups: dict[str, list[Path]] = {}
    for path in sorted(problems, key=lambda path: (len(path.parent.name), path.parent.name, str(path))):
        groups.setdefault(_split(path, folder), []).append(path)
    parts = []
    for split in sorted(groups):
        read = partial(_items, tuple(groups[split]), folder, answers)
        parts.append(Part(TASK, split, len(groups[split]), lambda read=read: once(read())))
    return Found(tuple(parts))


def _split(path: Path, folder: Path) -> str:
    """By the folder train, val or test that a problem lies in, else by what its data.json says."""
    above = path.parent.parent
    data = read_json(path, path.name)[0] if above == folder else None
    named = data.get("data_type") if isinstance(data, dict) else above.name
    return _SPLITS.get(named, "train") if isinstance(named, str) else "train"


def _items(paths: tuple[Path, ...], folder: Path, answers: str) -> Iterator[Item]:
    for number, path in enumerate(paths):
        yield _item(path, str(path.relative_to(folder)), number, answers)


def _item(path: Path, file: str, number: int, answers: str) -> Item:
    data, wrong = read_json(path, file)
    if wrong:
        return wrong
    found: list[tuple[str, str]] = []
    if not isinstance(data, dict):
        return (Problem(file, "", "wrong type", "is no object with problem_text, choices and answer; get it again"),)
    id = data.get("id", path.parent.name)
    text, answer = data.get("problem_text"), data.get("answer")
    if not isinstance(text, str) or not text.strip():
        found.append(("empty problem", "problem_text is empty; fill it in or remove the folder"))
        text = ""
    problem, answer = _question(text.strip(), answer, data, answers, found)
    image = path.parent / "img_diagram.png"
    if not image.is_file():
        found.append(("missing image", f"{image} is not there; restore it or remove the folder"))
    if found:
        return tuple(Problem(file, f"id {id!r}", *pair) for pair in found)
    metadata = {key: data[key] for key in _KEPT if key in data} | {"file": file, "record": number}
    return Example(f"geometry3k-{id}", TASK, problem, answer, (str(image),), None, metadata)


def _question(text: str, answer: Any, data: dict, answers: str, found: list) -> tuple[str, str]:
    """The text that is asked and its answer; what is wrong goes to `found`."""
    answer = str(answer).strip() if isinstance(answer, str | int | float) and not isinstance(answer, bool) else ""
    if not answer:
        found.append(("empty answer", "answer is empty; fill it in or remove the folder"))
        return text, ""
    choices = data.get("choices")
    if not choices:
        return text, answer
    if not isinstance(choices, list) or not all(isinstance(c, str | int | float) for c in choices):
        found.append(("wrong type", "choices is no list of texts; correct it"))
        return text, ""
    if len(choices) > len(LETTERS):
        found.append(("wrong type", f"has {len(choices)} choices, more than {len(LETTERS)}; leave some out"))
        return text, ""
    letters = LETTERS[: len(choices)]
    if len(answer) != 1 or answer not in letters:
        found.append(("wrong answer", f"answer {answer!r} is the letter of none of its {len(choices)} choices"))
        return text, ""
    if answers == "letter":
        listed = " ".join(f"{letter}. {choice}" for letter, choice in zip(letters, choices, strict=True))
        return f"{text} Choices: {listed}", answer
    compact = data.get("compact_choices")
    values = compact if isinstance(compact, list) and len(compact) == len(choices) else choices
    value = str(values[letters.index(answer)])
    if not value.strip():
        found.append(("empty answer", f"choice {answer} is empty; fill it in or remove the folder"))
    return text, value
