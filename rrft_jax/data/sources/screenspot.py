"""ScreenSpot in the form of UI-Venus: lists of instructions, each with a box in pixels (x1, y1, x2, y2).

    FOLDER/*.json    [{"img_filename", "bbox", "instruction", "ui_type", "img_size", ...}, ...]
    pictures in FOLDER, FOLDER/images or --image_root

The box [-1, -1, -1, -1], or none, says that no element fits.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rrft_jax.data.decoding import PictureError, image_size
from rrft_jax.data.example import Example
from rrft_jax.data.pictures import Pictures
from rrft_jax.data.records import Problem, load_list
from rrft_jax.data.sources.common import Found, Item, Part, once, source_folder, split_name
from rrft_jax.data.values import kind_of

TASK = "ui_grounding"
_KEPT = ("application", "action", "ui_type", "platform", "group")


def find(folder, image_root: str = "") -> Found:
    """A part for each file; its name is the split."""
    layout = "*.json lists of img_filename, bbox and instruction, and the pictures"
    folder = source_folder(folder, layout)
    files = sorted(folder.glob("*.json"))
    if not files:
        raise FileNotFoundError(f"--input={folder} holds no *.json; it should hold {layout}")
    roots = (folder / image_root,) if image_root else (folder, folder / "images")
    parts = []
    for path in files:
        read = partial(_items, path, Pictures(roots))
        count = max(1, len(load_list(path)[0]))
        parts.append(Part(TASK, split_name(path.stem), count, lambda read=read: once(read())))
    return Found(tuple(parts))


def _items(path: Path, pictures: Pictures) -> Iterator[Item]:
    records, wrong = load_list(path)
    if wrong:
        yield wrong
    for number, record in enumerate(records):
        yield _item(path, number, record, pictures)


def _item(path: Path, number: int, record: Any, pictures: Pictures) -> Item:
    def problem(kind: str, message: str) -> Item:
        return (Problem(path.name, f"record {number}", kind, message),)

    if not isinstance(record, dict):
        return problem("wrong type", f"is {kind_of(record)} where an object with img_filename and bbox belongs")
    text, file, box = (record.get(key) for key in ("instruction", "img_filename", "bbox"))
    if not isinstance(text, str) or not text.strip():
        return problem("empty problem", "has no instruction; fill it in or remove the record")
    picture = pictures.find(file) if isinstance(file, str) and file else None
    if picture is None:
        return problem("missing image", f"image {file!r} is not at {pictures.tried(str(file))}; set --image_root")
    try:
        height, width = image_size(picture)
    except PictureError as error:
        return problem("bad image", f"{file} cannot be read ({error}); get it again")
    stated = record.get("img_size")
    if stated is not None and stated != [width, height]:
        message = f"img_size is {stated} and its picture has {width}x{height} pixels; restore the picture or correct it"
        return problem("contradiction", message)
    if box in (None, [-1, -1, -1, -1]):
        box, answer = None, "[-1,-1]"
    elif not isinstance(box, list) or len(box) != 4 or not all(isinstance(x, int | float) for x in box):
        return problem("wrong type", f"bbox is {box!r:.60}; give [x1, y1, x2, y2] in pixels")
    elif not (0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height):
        message = f"bbox {box} has no area or lies outside its picture of {width}x{height} pixels; correct it"
        return problem("bad box", message)
    else:
        answer = f"[{','.join(str(int(1000 * x / s + 0.5)) for x, s in zip(box, (width, height) * 2, strict=True))}]"
    metadata = {key: record[key] for key in _KEPT if record.get(key) is not None}
    metadata |= {"box": box, "size": [width, height], "file": path.name, "record": number}
    id = f"{path.stem}-{record.get('id', '')}-{number:06d}"
    return Example(id, TASK, text.strip(), answer, (picture,), None, metadata)
