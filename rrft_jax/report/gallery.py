"""Prompts, pictures and completions for the page, as plain values."""

import base64
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rrft_jax.data.decoding import open_image
from rrft_jax.run.completions import FILE, FOLDER, HELD_OUT, read_completions

STEPS = 40  # of a run's gallery: the first, the last, and others evenly between
SIDE = 384  # pixels of the longer side of a picture in the page


class EmbeddedPictures:
    """Each picture once, as a data URL; `of` gives its number."""

    def __init__(self) -> None:
        self.urls: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}

    def of(self, path: Path) -> int | None:
        """The number of a PNG file that a run wrote, whose name is a digest of its pixels; None where it is gone."""
        if path.name not in self._numbers:
            try:
                image = open_image(path)
            except (OSError, ValueError):
                return None
            size = image.size
            image.thumbnail((SIDE, SIDE))
            content = io.BytesIO()
            image.convert("RGB").save(content, "WEBP", quality=82)
            url = "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()
            self._numbers[path.name] = len(self.urls)
            self.urls.append({"url": url, "width": size[0], "height": size[1]})
        return self._numbers[path.name]


def gallery(workdir: Path, run: int, pictures: EmbeddedPictures) -> tuple[list[dict[str, Any]], int]:
    """The logged groups of a run, and how many of its steps were left out."""
    steps = _steps(workdir / FOLDER)
    kept = _evenly(steps)
    return _groups(workdir, FOLDER, lambda step: step in kept, run, pictures), len(steps) - len(kept)


def held_out(workdir: Path, run: int, pictures: EmbeddedPictures) -> list[dict[str, Any]]:
    """The held-out questions of a run, each with its answers by step: question, answers [{step, text, ...}]."""
    kept = _evenly(_steps(workdir / HELD_OUT))
    questions: dict[tuple[str, str], dict[str, Any]] = {}
    for group in _groups(workdir, HELD_OUT, lambda step: step in kept, run, pictures):
        key = group["task"], group["id"]
        question = questions.setdefault(key, {k: v for k, v in group.items() if k != "completions"} | {"answers": []})
        question["answers"] += [{"step": group["step"], **one} for one in group["completions"]]
    return list(questions.values())


def _groups(
    workdir: Path, folder: str, wanted: Callable[[int], bool], run: int, pictures: EmbeddedPictures
) -> list[dict[str, Any]]:
    root = workdir / folder
    found = []
    for number in filter(wanted, _steps(root)):
        for group in read_completions(root / f"step_{number:06d}"):
            found.append({
                "run": run, "step": group["step"], "id": group["example_id"], "task": group["task"],
                "prompt": group["prompt"], "answer": group["answer"], "metadata": group["metadata"],
                "pictures": [n for path in group["images"] if (n := pictures.of(path)) is not None],
                "completions": [_completion(group, g) for g in range(len(group["completions"]))],
            })  # fmt: skip
    return found


def _completion(group: Mapping[str, Any], g: int) -> dict[str, Any]:
    at = lambda values: values[g] if g < len(values) else None  # noqa: E731
    return {
        "text": group["completions"][g], "reward": at(group["reward"]), "advantage": at(group["advantages"]),
        "length": at(group["lengths"]), "finished": at(group["finished"]),
        "rewards": {name: at(values) for name, values in group["rewards"].items()},
    }  # fmt: skip


def _steps(root: Path) -> list[int]:
    whole = (p.name[5:] for p in root.glob("step_*") if (p / FILE).exists())
    return sorted(int(number) for number in whole if number.isdigit())


def _evenly(steps: list[int]) -> set[int]:
    if len(steps) <= STEPS:
        return set(steps)
    return {steps[round(k * (len(steps) - 1) / (STEPS - 1))] for k in range(STEPS)}
