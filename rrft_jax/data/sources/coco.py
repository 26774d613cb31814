"""Annotations in COCO's form, COCO's own and LVIS's: a record for each picture and category.

    FOLDER/*.json or FOLDER/annotations/*.json     {"images", "annotations", "categories"}
    FOLDER/train2017/..., val2017/..., images/...  the pictures; or anywhere with --image_root

Boxes (x, y, width, height in pixels) become corners. Crowds are left out. LVIS's `neg_category_ids`, the categories
that are known to be absent from a picture, become records without objects.
"""

import difflib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rrft_jax.answers.detections import write_detections
from rrft_jax.data.example import Example
from rrft_jax.data.pictures import Pictures
from rrft_jax.data.records import Problem
from rrft_jax.data.sources.common import Found, Item, Part, once, read_json_file, source_folder, split_name

TASK = "detection"
# Lists of Visual-RFT, by a name that `categories` takes.
LISTS = {
    "few_shot": ("bus", "train", "fire hydrant", "stop sign", "cat", "dog", "bed", "toilet"),
    "novel": (
        "mouse", "fork", "hot dog", "cat", "airplane", "suitcase", "parking meter", "sandwich", "train", "hair drier",
        "toilet", "toaster", "snowboard", "frisbee", "bear",
    ),
    "lvis_rare": ("horse_buggy", "die", "kitchen_table", "omelet", "papaya", "stepladder"),
}  # fmt: skip
_LISTS = ("images", "annotations", "categories")


def find(folder, image_root: str = "", categories: str = "") -> Found:
    """A part for each annotation file; its name is the split.

    categories: only those of these names, by commas, or a name of LISTS; behind an exclamation mark, all but these.
    """
    layout = "annotation files with images, annotations and categories, and the pictures"
    folder = source_folder(folder, layout)
    files = [*sorted(folder.glob("*.json")), *sorted(folder.glob("annotations/*.json"))]
    if not files:
        raise FileNotFoundError(f"--input={folder} holds no *.json and no annotations/*.json; it should hold {layout}")
    roots = (folder / image_root,) if image_root else (folder, folder / "images", *_folders(folder))
    parts = []
    for path in files:
        value, wrong = _read(path)
        count = max(1, len(_queries(value, categories)[0]) if not wrong else 1)
        read = partial(_items, path, Pictures(roots), categories)
        parts.append(Part(TASK, split_name(path.stem), count, lambda read=read: once(read())))
    return Found(tuple(parts))


def _folders(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name != "annotations"]


def _read(path: Path) -> tuple[dict, tuple[Problem, ...]]:
    value, wrong = read_json_file(path, path.name)
    if wrong:
        return {}, wrong
    if not isinstance(value, dict) or not all(isinstance(value.get(name), list) for name in _LISTS):
        message = (
            f"holds no lists {', '.join(_LISTS)}, as COCO's instances_*.json do; name another folder or get it again"
        )
        return {}, (Problem(path.name, "", "wrong type", message),)
    return value, ()


def _chosen(value: dict, categories: str) -> set[str]:
    """The ids of the categories that are wanted. ValueError for a name that the file does not have."""
    names = {str(c.get("name")): str(c.get("id")) for c in value["categories"] if isinstance(c, dict)}
    listed = categories.removeprefix("!")
    wanted = LISTS.get(listed) or [name.strip() for name in listed.split(",") if name.strip()]
    if wrong := [name for name in wanted if name not in names]:
        near = difflib.get_close_matches(wrong[0], [*names, *LISTS], n=3) or list(names)[:5]
        raise ValueError(f"--categories={categories}: there is no {wrong[0]!r}; did you mean {', '.join(near)}?")
    found = {names[name] for name in wanted}
    return set(names.values()) - found if not wanted or categories.startswith("!") else found


def _queries(value: dict, categories: str) -> tuple[list[tuple[str, str]], dict[tuple[str, str], list[dict]]]:
    """(image id, category id) in the order of both, and the annotations of each."""
    of: dict[tuple[str, str], list[dict]] = {}
    known = {str(c.get("id")) for c in value["categories"] if isinstance(c, dict)}
    left_out = known - _chosen(value, categories)
    for each in value["annotations"]:
        if isinstance(each, dict) and not each.get("iscrowd"):
            of.setdefault((str(each.get("image_id")), str(each.get("category_id"))), []).append(each)
    for image in value["images"]:
        absent = image.get("neg_category_ids") if isinstance(image, dict) else None
        for category in absent if isinstance(absent, list) else ():
            of.setdefault((str(image.get("id")), str(category)), [])
    return sorted(query for query in of if query[1] not in left_out), of


def _items(path: Path, pictures: Pictures, categories: str) -> Iterator[Item]:
    value, wrong = _read(path)
    if wrong:
        yield wrong
        return
    images = {str(image.get("id")): image for image in value["images"] if isinstance(image, dict)}
    names = {str(c.get("id")): c.get("name") for c in value["categories"] if isinstance(c, dict)}
    queries, of = _queries(value, categories)
    for number, (image, category) in enumerate(queries):
        yield _item(path, number, image, images.get(image), names.get(category), of[image, category], pictures)


def _item(path: Path, number: int, id: str, image: Any, name: Any, found: list[dict], pictures: Pictures) -> Item:
    record = f"image {id}, category {name!r}"

    def problem(kind: str, message: str) -> Item:
        return (Problem(path.name, record, kind, message),)

    if not isinstance(image, dict) or not isinstance(name, str) or not name:
        return problem("missing field", "its image or its category is not in the lists; correct the annotation")
    file = image.get("file_name") or "/".join(str(image.get("coco_url", "")).split("/")[-2:])
    size = [image.get("width"), image.get("height")]
    if not all(isinstance(side, int) and side > 0 for side in size):
        return problem("wrong type", f"the picture's width and height are {size}; give them in pixels")
    boxes = []
    for each in found:
        box = each.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(x, int | float) for x in box):
            return problem(
                "wrong type", f"annotation {each.get('id')}: bbox is {box!r:.60}; give [x, y, width, height]"
            )
        corners = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
        over = max(-corners[0], -corners[1], corners[2] - size[0], corners[3] - size[1])
        if box[2] <= 0 or box[3] <= 0 or over > 1:  # COCO's own boxes reach up to a pixel out by rounding
            where = f"bbox {box} has no area or lies outside its picture of {size[0]}x{size[1]} pixels"
            return problem("bad box", f"annotation {each.get('id')}: {where}; correct it")
        boxes.append([min(max(x, 0), side) for x, side in zip(corners, size * 2, strict=True)])
    picture = pictures.find(str(file))
    if picture is None:
        return problem("missing image", f"image {file!r} is not at {pictures.tried(str(file))}; set --image_root")
    answer = write_detections([[int(1000 * x / s + 0.5) for x, s in zip(b, size * 2, strict=True)] for b in boxes])
    metadata = {"category": name, "image_id": id, "size": size, "boxes": boxes, "file": path.name, "record": number}
    return Example(f"{path.stem}-{id}-{name}", TASK, name, answer, (picture,), None, metadata)
