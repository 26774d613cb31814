"""The real samples, and a folder in the published layout made of their pictures."""

import json
import zipfile
from pathlib import Path

from rrft_jax.data.sources.common import Found, Part

FIXTURES = Path(__file__).parents[2] / "fixtures"
SUPER_CLEVR, CLEVR_MATH = FIXTURES / "super-clevr", FIXTURES / "clevr-math"
GEOMETRY3K, TRANCE = FIXTURES / "geometry3k", FIXTURES / "trance"
PICTURES = {
    "clevr/img1.png": CLEVR_MATH / "CLEVR_v1.0" / "images" / "train" / "img1.png",
    "geo/12.png": GEOMETRY3K / "12" / "img_diagram.png",
    "trance/init.png": TRANCE / "img_000000-init.C.png",
    "trance/fin.png": TRANCE / "img_000000-fin.C.png",
    "trance/left.png": TRANCE / "img_000000-fin.L.png",
}

COUNT = {"id": "clevr-math-1", "image": "clevr/img1.png", "problem": "How many objects are there?", "answer": "5"}
GEO = {"id": "geomath-1", "image": "geo/12.png", "problem": "Find x.", "answer": "13", "cot": "5 x 12 = 4.5 ..."}
MOVE = {
    "id": "trance-1",
    "image": ["trance/init.png", "trance/fin.png"],
    "problem": "The attributes of the initial objects: [('0','cylinder','small','gray','metal')]",
    "answer": "change_color(2, cyan)",
}
PUBLISHED = {
    "train_jsons/A1-Spatial-Transformation-train-60k-cot.json": [MOVE | {"cot": "It is cyan now."}],
    "train_jsons/A2-Structure-Perception-train-4k5-cot.json": [GEO],
    "train_jsons/A3-Visual-Counting-train-35k-cot.json": [COUNT, COUNT | {"id": "clevr-math-2", "cot": "One by one."}],
    "train_jsons/AI2D-train-1467-cot.json": [COUNT],
    "test_jsons/Visual-Counting-id-test-1k.json": [COUNT | {"id": "t"}],
    "test_jsons/Visual-Counting-ood-test-1k.json": [COUNT | {"id": "t"}],
    "test_jsons/Structure-Perception-id-test-820.json": [GEO | {"problem_no_prompt": "Find it."}],
    "test_jsons/Structure-Perception-ood-test-800.json": [GEO],
    "test_jsons/Spatial-Transformation-id-test-1k.json": [MOVE],
    "test_jsons/Spatial-Transformation-ood-left-test-1k.json": [
        MOVE | {"image": ["trance/init.png", "trance/left.png"]}
    ],
    "test_jsons/Spatial-Transformation-ood-right-test-1k.json": [MOVE],
}


def write_json(path: Path, value) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def published(folder: Path, zipped: bool = True, files=PUBLISHED) -> Path:
    """A folder in the layout of Reason-RFT-CoT-Dataset: records of ours, real pictures, in zips or in folders."""
    for name, records in files.items():
        write_json(folder / name, records)
    for split in ("train", "test"):
        if zipped:
            with zipfile.ZipFile(folder / f"{split}_images.zip", "w") as archive:
                for name, path in PICTURES.items():
                    archive.write(path, f"{split}_images/{name}")
        else:
            for name, path in PICTURES.items():
                target = folder / f"{split}_images" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    return folder


def part(found: Found, task: str, split: str) -> Part:
    return next(p for p in found.parts if (p.task, p.split) == (task, split))
