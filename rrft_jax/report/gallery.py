"""Prompts, pictures and completions for the page, as plain values."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rrft_jax.data.decoding import open_image
from rrft_jax.run.completions import FILE, read_completions, step_folders

STEPS = 40  # of a run's gallery: the first, the last, and others evenly between
SIDE = 384  # pixels of the longer side of a picture in the page

Pictures = dict[str, dict[str, Any]]  # file name, a digest of the pixels -> data URL, width and height


def logged(root: Path, run: int, pictures: Pictures) -> tuple[list[dict[str, Any]], int]:
    """The groups in a folder of completions, and how many of its steps were left out. Adds to `pictures` those that
    the groups show."""
    steps = [folder for _, folder in step_folders(root) if (folder / FILE).exists()]
    places = np.linspace(0, len(steps) - 1, min(STEPS, len(steps))).round().astype(int)
    groups = [_group(one, run, pictures) for place in places for one in read_completions(steps[place])]
    return groups, len(steps) - len(places)


def by_question(groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Held-out questions, each once with its answers by step: what a group has, and answers [{step, text, ...}]."""
    questions: dict[tuple[str, str], dict[str, Any]] = {}
    for group in groups:
        question = {name: value for name, value in group.items() if name != "completions"} | {"answers": []}
        question = questions.setdefault((group["task"], group["id"]), question)
        question["answers"] += [{"step": group["step"], **one} for one in group["completions"]]
    return list(questions.values())


def _group(group: Mapping[str, Any], run: int, pictures: Pictures) -> dict[str, Any]:
    columns = {
        "text": group["completions"], "reward": group["reward"], "advantage": group["advantages"],
        "length": group["lengths"], "finished": group["finished"],
    }  # fmt: skip
    at = lambda columns, g: {name: c[g] if g < len(c) else None for name, c in columns.items()}  # noqa: E731
    return {
        "run": run, "step": group["step"], "id": group["example_id"], "task": group["task"],
        "prompt": group["prompt"], "answer": group["answer"], "metadata": group["metadata"],
        "pictures": [path.name for path in group["images"] if _embed(path, pictures)],
        "completions": [{**at(columns, g), "rewards": at(group["rewards"], g)} for g in range(len(columns["text"]))],
    }  # fmt: skip


def _embed(path: Path, pictures: Pictures) -> bool:
    """Adds a picture to those of the page, once; False where its file is gone."""
    if path.name not in pictures:
        try:
            image = open_image(path)
        except (OSError, ValueError):
            return False
        width, height = image.size
        image.thumbnail((SIDE, SIDE))
        content = io.BytesIO()
        image.save(content, "WEBP", quality=82)
        url = "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()
        pictures[path.name] = {"url": url, "width": width, "height": height}
    return True
