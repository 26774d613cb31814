"""Exact counting questions from Super-CLEVR scene files, as records in the Reason-RFT JSON layout.

    python scripts/make_super_clevr_counts.py --scenes scenes --images images --out .

The questions are those of `rrft_jax.data.sources.super_clevr_counts`; each record has the listing and the arithmetic
as `cot`. The output depends on the scenes and the options alone. To train on many pictures use launch/prepare_data.py.
"""

import argparse
import json
import os
from pathlib import Path

from rrft_jax.data.sources.super_clevr_counts import questions


def make_records(scenes: Path, images: Path, out: Path, per_scene: int, seed: int) -> list[dict]:
    """Records for all scene files in order of their names; image paths are relative to `out`."""
    files = sorted(scenes.glob("*.json"))
    if not files:
        raise FileNotFoundError(f"no scene file (*.json) in {scenes}; --scenes names the folder that holds them")
    records = []
    for file in files:
        scene = json.loads(file.read_text(encoding="utf-8"))
        image = images / scene["image_filename"]
        if not image.is_file():
            raise FileNotFoundError(f"{image}, the picture of {file.name}, is missing; --images names its folder")
        path = Path(os.path.relpath(image, out)).as_posix()
        for n, question in enumerate(questions(scene, per_scene, seed)):
            records.append({"id": f"super-clevr-{image.stem}-{n:03d}", "image": path} | question)
    return records


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, required=True, help="folder of scene files, one JSON a picture")
    parser.add_argument("--images", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder that records.json is written to")
    parser.add_argument("--per-scene", type=int, default=16, help="questions per picture (default 16)")
    parser.add_argument("--seed", type=int, default=0, help="which questions are drawn (default 0)")
    args = parser.parse_args()
    records = make_records(args.scenes, args.images, args.out, args.per_scene, args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    target = args.out / "records.json"
    target.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(records)} questions on {len({r['image'] for r in records})} pictures in {target}")


if __name__ == "__main__":
    main()
