"""The example folder of real pictures: the script reproduces it, and its answers are recounted from the scenes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from rrft_jax.data.folder import read_records

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "fixtures" / "super-clevr"
SCRIPT = ROOT / "scripts" / "make_super_clevr_counts.py"
# Singular words of a question and the scene values they stand for, written down independently of the script.
SHAPES = {
    "articulated bus": ["articulated"], "bicycle": ["road", "utility", "mountain", "tandem"],
    "bus": ["articulated", "regular", "double", "school"], "car": ["suv", "wagon", "minivan", "sedan", "truck", "addi"],
    "aeroplane": ["jet", "fighter", "biplane", "airliner"], "chopper": ["chopper"], "dirtbike": ["dirtbike"],
    "fighter": ["fighter"], "motorbike": ["chopper", "dirtbike", "scooter", "cruiser"], "regular bus": ["regular"],
    "road bike": ["road"], "scooter": ["scooter"], "tandem bike": ["tandem"], "truck": ["truck"],
    "utility bike": ["utility"], "wagon": ["wagon"],
}  # fmt: skip


def scene_objects(image):
    scene = json.loads((FOLDER / "scenes" / f"{Path(image).stem}.json").read_text())
    return scene["objects"]


def matches(thing, words):
    """Whether a scene object is one of, say, "small red trucks", word by word."""
    rest = words.removesuffix("es") if words.endswith("buses") else words.removesuffix("s")
    while rest.split()[0] in {"small", "large", "metal", "rubber", "gray", "red", "blue", "green", "brown", "purple",
                              "cyan", "yellow"}:  # fmt: skip
        word, rest = rest.split(maxsplit=1)
        if word not in (thing["size"], thing["material"], thing["color"]):
            return False
    return rest == "object" or thing["shape"] in SHAPES[rest]


def recount(problem, things):
    asked = re.fullmatch(r"How many (.+) are there\?", problem)
    if asked:
        return sum(matches(thing, asked.group(1)) for thing in things)
    assert problem.endswith(" How many objects are left?")
    gone = re.findall(r"Subtract all (.+?)\.", problem)
    return sum(not any(matches(thing, words) for words in gone) for thing in things)


def test_folder_reads_without_a_problem():
    records = read_records(FOLDER, task="counting", strict=True)
    assert len(records.examples) == 48 and records.problems == ()
    assert {e.metadata["question_type"] for e in records.examples} == {"count", "subtract", "subtract two"}
    assert {Image.open(e.images[0]).size for e in records.examples} == {(640, 480)}


def test_answers_and_reasoning_recounted():
    records = json.loads((FOLDER / "records.json").read_text())
    assert len({r["id"] for r in records}) == len({(r["image"], r["problem"]) for r in records}) == len(records)
    for r in records:
        assert recount(r["problem"], scene_objects(r["image"])) == int(r["answer"]), r["id"]
        assert r["cot"].endswith(f"so {r['answer']}.")
    assert len({r["answer"] for r in records}) >= 6


def test_some_counts_by_hand():
    """Counted by hand from the listings of the scene files."""
    answers = {(Path(r["image"]).stem[-1], r["problem"]): r["answer"]
               for r in json.loads((FOLDER / "records.json").read_text())}  # fmt: skip
    assert answers["0", "How many objects are there?"] == "7"
    assert answers["0", "How many trucks are there?"] == "2"
    assert answers["0", "Subtract all trucks. Subtract all rubber objects. How many objects are left?"] == "3"
    assert answers["3", "How many motorbikes are there?"] == "3"
    assert answers["2", "How many rubber articulated buses are there?"] == "2"


def run(*args):
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, args)], capture_output=True, text=True)


def test_the_script_reproduces_the_folder(tmp_path):
    done = run("--scenes", FOLDER / "scenes", "--images", FOLDER / "images", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    made, stored = (json.loads((f / "records.json").read_text()) for f in (tmp_path, FOLDER))
    assert [r | {"image": ""} for r in made] == [r | {"image": ""} for r in stored]
    assert len(read_records(tmp_path, strict=True).examples) == len(stored)


def test_help_and_missing_folders(tmp_path):
    assert "--per-scene" in run("--help").stdout
    assert "no scene file" in run("--scenes", tmp_path, "--images", tmp_path, "--out", tmp_path).stderr
    missing = run("--scenes", FOLDER / "scenes", "--images", tmp_path, "--out", tmp_path)
    assert missing.returncode != 0 and "--images names its folder" in missing.stderr


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_other_draws_are_exact_too(tmp_path, seed):
    done = run("--scenes", FOLDER / "scenes", "--images", FOLDER / "images", "--out", tmp_path, "--seed", seed,
               "--per-scene", 40)  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = json.loads((tmp_path / "records.json").read_text())
    assert len(records) == 120
    assert all(recount(r["problem"], scene_objects(r["image"])) == int(r["answer"]) for r in records)
