"""RefSpatial-Bench: questions whose answer is a point within a mask.

    FOLDER/<part>/question.json, or FOLDER/question.json
    [{"id", "object", "prompt", "suffix", "rgb_path", "mask_path", "category", "step"}, ...]

The text asked is `prompt`, a space, and `suffix`. Gold for training is the mask's pixel nearest to its middle.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rrft_jax.data.decoding import PictureError, open_image
from rrft_jax.data.example import Example
from rrft_jax.data.pictures import Pictures
from rrft_jax.data.records import Problem, load_list
from rrft_jax.data.sources.common import Found, Item, Part, once, source_folder, split_name
from rrft_jax.data.values import kind_of

TASK = "spatial_referring"


def find(folder) -> Found:
    """A part for each folder that holds a question.json; its name is the split, else test."""
    layout = "question.json, or <part>/question.json, with the pictures and masks that it names"
    folder = source_folder(folder, layout)
    files = [*sorted(folder.glob("question.json")), *sorted(folder.glob("*/question.json"))]
    if not files:
        raise FileNotFoundError(f"--input={folder} holds no question.json; it should hold {layout}")
    parts = []
    for path in files:
        split = split_name(path.parent.name) if path.parent != folder else "test"
        read = partial(_items, path, split, folder)
        parts.append(Part(TASK, split, max(1, len(load_list(path)[0])), lambda read=read: once(read())))
    return Found(tuple(parts))


def _items(path: Path, split: str, folder: Path) -> Iterator[Item]:
    file, pictures = str(path.relative_to(folder)), Pictures((path.parent, folder))
    records, wrong = load_list(path)
    if wrong:
        yield wrong
    for number, record in enumerate(records):
        yield _item(file, split, number, record, pictures)


def _item(file: str, split: str, number: int, record: Any, pictures: Pictures) -> Item:
    def problem(kind: str, message: str) -> Item:
        return (Problem(file, f"record {number}", kind, message),)

    if not isinstance(record, dict):
        return problem("wrong type", f"is {kind_of(record)} where an object with prompt and rgb_path belongs")
    prompt, suffix = (str(record.get(key) or "").strip() for key in ("prompt", "suffix"))
    if not prompt:
        return problem("empty problem", "has no prompt; fill it in or remove the record")
    found = [pictures.find(str(record.get(key) or "")) for key in ("rgb_path", "mask_path")]
    for key, path in zip(("rgb_path", "mask_path"), found, strict=True):
        if path is None:
            return problem("missing image", f"{key} {record.get(key)!r} is not next to the file; get it again")
    picture, mask_path = found
    try:
        picture_size, mask = open_image(picture).size, np.asarray(open_image(mask_path).convert("L")) > 0
    except PictureError as error:
        return problem("bad image", f"picture or mask cannot be read ({error}); get it again")
    size = [mask.shape[1], mask.shape[0]]
    if list(picture_size) != size:
        message = f"its mask has {size[0]}x{size[1]} pixels and its picture {picture_size[0]}x{picture_size[1]}"
        return problem("contradiction", f"{message}; get both again")
    if not mask.any():
        return problem("empty answer", "its mask is empty; remove the record")
    ys, xs = np.nonzero(mask)
    middle = int(np.argmin(np.abs(xs - xs.mean()) + np.abs(ys - ys.mean())))
    point = [float(xs[middle]) + 0.5, float(ys[middle]) + 0.5]
    metadata = {key: record[key] for key in ("object", "category", "step") if record.get(key) is not None}
    metadata |= {"point": point, "size": size, "mask_path": str(mask_path), "file": file, "record": number}
    answer = f"[({point[0] / size[0]:.3f}, {point[1] / size[1]:.3f})]"
    id = f"{split}-{record.get('id', number)}"
    return Example(id, TASK, f"{prompt} {suffix}".strip(), answer, (picture,), None, metadata)
