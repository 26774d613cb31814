"""Prompts and completions of the model, for people to read: one folder per logged step.

    completions/step_000012/groups.jsonl      one line per prompt with its G completions
    completions/step_000012/<digest>.png      each picture once, named by its pixels

Under held_out/ lie, in the same form, the greedy answers to the same held-out questions at each evaluation. A folder
appears whole or not at all: it is written under a hidden name and renamed.
"""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rrft_jax.data.decoding import open_image
from rrft_jax.files import parse_json, shown

FOLDER, HELD_OUT, FILE = "completions", "held_out", "groups.jsonl"
GEOMETRY = ("box", "bbox", "boxes", "point", "points", "size")  # what of an example's metadata can be drawn
_STEP = re.compile(r"step_(\d+)")


@dataclass(frozen=True)
class Group:
    """One prompt and its G completions.

    images: PIL images, uint8[h, w, 3] arrays, file paths or stored pictures, as in `Example.images`.
    rewards: reward function -> G values, None where the function gave no value.
    advantages: G values; empty where none were computed (evaluation).
    lengths, finished: tokens of each completion, and whether it ended by itself; empty where not known.
    task: whose question it is; of a held-out question the set. metadata: of the example; GEOMETRY is kept.
    """

    prompt_id: int
    example_id: str
    prompt: str
    answer: str
    completions: Sequence[str]
    images: Sequence[Any] = ()
    rewards: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    reward: Sequence[float | None] = ()
    advantages: Sequence[float | None] = ()
    lengths: Sequence[int] = ()
    finished: Sequence[bool] = ()
    task: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


def rows_of(group: Group) -> list[dict[str, Any]]:
    """One row per completion, for the table of a metrics sink; `images` as the group has them."""
    at = lambda values, g: values[g] if g < len(values) else None  # noqa: E731
    return [
        {
            "prompt_id": group.prompt_id, "prompt": group.prompt, "answer": group.answer, "completion": text,
            "reward": at(group.reward, g), "advantage": at(group.advantages, g), "images": group.images,
            **{f"rewards/{name}": at(values, g) for name, values in group.rewards.items()},
        }
        for g, text in enumerate(group.completions)
    ]  # fmt: skip


class CompletionsWriter:
    """Writes the groups of logged steps under a run directory."""

    def __init__(self, workdir: str | Path, folder: str = FOLDER):
        self._root = Path(workdir) / folder

    def write(self, step: int, groups: Sequence[Group]) -> Path:
        """Writes one step and returns its folder; a folder left by an earlier attempt at the step is replaced."""
        final = self._root / f"step_{step:06d}"
        temporary = self._root / f".{final.name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            lines = [json.dumps(_line(step, group, temporary), ensure_ascii=False, allow_nan=False) for group in groups]
            (temporary / FILE).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        except OSError as error:
            if error.errno is None or error.filename:
                raise
            raise type(error)(error.errno, error.strerror, str(final)) from None  # a full disk, which names no file
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
        return final

    def cut_back(self, step: int) -> int:
        """Removes the folders of later steps and unfinished ones; returns how many later steps there were."""
        for leftover in self._root.glob(".step_*.tmp"):
            shutil.rmtree(leftover)
        later = [folder for number, folder in step_folders(self._root) if number > step]
        for folder in later:
            shutil.rmtree(folder)
        return len(later)


def read_completions(path: str | Path, folder: str = FOLDER) -> Iterator[dict[str, Any]]:
    """The groups under a run directory, its completions folder or one step's folder, in order of steps.

    Each is a dict with the fields of `Group` and `step`; images are paths that can be opened. folder: HELD_OUT for the
    answers to held-out questions.
    """
    path = Path(path)
    root = path / folder if (path / folder).is_dir() else path
    folders = [root] if (root / FILE).exists() else [folder for _, folder in step_folders(root)]
    if not folders:
        raise FileNotFoundError(f"no completions under {path}; give a run directory or its {folder} folder.")
    for at in folders:
        with open(at / FILE, "rb") as lines:
            for number, line in enumerate(lines, 1):
                group = _read_line(line, f"{at / FILE} line {number}")
                yield {**group, "images": [at / name for name in group["images"]]}


def step_folders(root: Path) -> list[tuple[int, Path]]:
    """Step and folder of each logged step, in order; of a run's folder of completions."""
    found = [(_STEP.fullmatch(folder.name), folder) for folder in root.glob("step_*")]
    return sorted((int(match[1]), folder) for match, folder in found if match)


def _read_line(line: bytes, where: str) -> dict[str, Any]:
    """What `_line` makes. ValueError with the place and the field."""
    try:
        group = parse_json(line)
        if isinstance(group, dict):  # earlier versions wrote none of these
            group = {"lengths": [], "finished": [], "task": "", "metadata": {}} | group
    except ValueError as error:
        raise ValueError(f"{where}: {error}; remove that line") from None
    kinds = {
        "step": int, "prompt_id": int, "example_id": str, "prompt": str, "answer": str, "images": list,
        "completions": list, "rewards": dict, "reward": list, "advantages": list, "lengths": list,
        "finished": list, "task": str, "metadata": dict,
    }  # fmt: skip
    for name, kind in kinds.items():
        value = group.get(name) if isinstance(group, dict) else None
        texts = value if name in ("images", "completions") and isinstance(value, list) else ()
        if type(value) is not kind or not all(type(x) is str for x in texts):
            raise ValueError(f"{where}: {name} is {shown(value)}, not what a run writes; remove that line")
    return group


def _line(step: int, group: Group, folder: Path) -> dict[str, Any]:
    columns = {"reward": group.reward, "advantages": group.advantages}
    columns |= {"lengths": group.lengths, "finished": group.finished}
    columns |= {f"rewards[{name!r}]": values for name, values in group.rewards.items()}
    for name, values in columns.items():
        if len(values) not in (0, len(group.completions)):
            raise ValueError(
                f"example {group.example_id}: {name} has {len(values)} values for {len(group.completions)} completions."
            )
    return {
        "step": int(step),
        "prompt_id": int(group.prompt_id),
        "example_id": group.example_id,
        "prompt": group.prompt,
        "answer": group.answer,
        "images": [_save_image(image, folder) for image in group.images],
        "completions": list(group.completions),
        "rewards": {name: _numbers(values) for name, values in group.rewards.items()},
        "reward": _numbers(group.reward),
        "advantages": _numbers(group.advantages),
        "lengths": [int(n) for n in group.lengths],
        "finished": [bool(ended) for ended in group.finished],
        "task": group.task,
        "metadata": {name: _plain(group.metadata[name]) for name in GEOMETRY if name in group.metadata},
    }


def _numbers(values: Sequence[Any]) -> list[float | None]:
    """Plain floats; what is not finite becomes None, since JSON has no NaN."""
    return [None if value is None or not math.isfinite(float(value)) else float(value) for value in values]


def _plain(value: Any) -> Any:
    """A coordinate, or lists of them, as JSON values; what is neither becomes its text."""
    if isinstance(value, Mapping | str) or not hasattr(value, "__iter__"):
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else str(value)
    return [_plain(item) for item in value]


def _save_image(image: Any, folder: Path) -> str:
    image = open_image(image)
    digest = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()[:16]
    name = f"{digest}.png"
    if not (folder / name).exists():
        image.save(folder / name)
    return name
