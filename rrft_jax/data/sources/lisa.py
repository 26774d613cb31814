"""LISA's ReasonSeg: a JSON file next to each picture, with questions and the polygons of what they mean.

    FOLDER/<split>/<name>.json and <name>.jpg, or FOLDER/<name>.json
    {"text": [...], "shapes": [{"label": "target", "points": [[x, y], ...]}, ...]}

Gold is the box around all polygons labelled target.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rrft_jax.data.decoding import PictureError, image_size
from rrft_jax.data.example import Example
from rrft_jax.data.records import Problem
from rrft_jax.data.sources.common import Found, Item, Part, once, read_json_file, source_folder, split_name

TASK = "reasoning_grounding"
TARGET = "target"


def find(folder) -> Found:
    """A part for each folder of pictures; its name is the split."""
    layout = "<split>/<name>.json next to <name>.jpg"
    folder = source_folder(folder, layout)
    files = [*sorted(folder.glob("*.json")), *sorted(folder.glob("*/*.json"))]
    files = [path for path in files if path.with_suffix(".jpg").is_file() or path.with_suffix(".png").is_file()]
    if not files:
        raise FileNotFoundError(f"--input={folder} holds no JSON file next to a picture; it should hold {layout}")
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(split_name(path.parent.name if path.parent != folder else "train"), []).append(path)
    parts = []
    for split, paths in groups.items():
        count = sum(max(1, len(_texts(read_json_file(path, path.name)[0]))) for path in paths)
        read = partial(_items, tuple(paths), folder)
        parts.append(Part(TASK, split, count, lambda read=read: once(read())))
    return Found(tuple(parts))


def _texts(value: Any) -> list[str]:
    texts = value.get("text") if isinstance(value, dict) else None
    texts = [texts] if isinstance(texts, str) else texts if isinstance(texts, list) else []
    return [text for text in texts if isinstance(text, str) and text.strip()]


def _items(paths: tuple[Path, ...], folder: Path) -> Iterator[Item]:
    for path in paths:
        file = str(path.relative_to(folder))
        value, wrong = read_json_file(path, file)
        if wrong:
            yield wrong
            continue
        picture = next(p for p in (path.with_suffix(".jpg"), path.with_suffix(".png")) if p.is_file())
        try:
            height, width = image_size(str(picture))
        except PictureError as error:
            yield (Problem(file, "", "bad image", f"{picture.name} cannot be read ({error}); get it again"),)
            continue
        box, texts = _box(value), _texts(value)
        if box is None or not texts:
            message = 'has no "text" or no shape labelled target with points; correct or remove the file'
            yield (Problem(file, "", "missing field", message),)
            continue
        if box[0] < 0 or box[1] < 0 or box[2] > width or box[3] > height:
            message = f"its target {box} lies outside its picture of {width}x{height} pixels; correct the points"
            yield (Problem(file, "", "bad box", message),)
            continue
        x1, y1, x2, y2 = (int(1000 * v / side + 0.5) for v, side in zip(box, (width, height) * 2, strict=True))
        metadata = {"box": box, "size": [width, height], "file": file}
        for number, text in enumerate(texts):
            yield Example(
                f"{path.stem}-{number}", TASK, text, f"({x1},{y1}),({x2},{y2})", (str(picture),), None,
                {**metadata, "record": number},
            )  # fmt: skip


def _box(value: Any) -> list[float] | None:
    """Around the points of all targets; None where there are none."""
    shapes = value.get("shapes") if isinstance(value, dict) else None
    points = []
    for shape in shapes if isinstance(shapes, list) else ():
        if isinstance(shape, dict) and shape.get("label") == TARGET and isinstance(shape.get("points"), list):
            points += [p for p in shape["points"] if isinstance(p, list) and len(p) == 2]
    if len(points) < 2 or not all(isinstance(v, int | float) for point in points for v in point):
        return None
    xs, ys = zip(*points, strict=True)
    return [float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys))]
