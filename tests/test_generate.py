"""launch/generate.py as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rrft_jax.tasks.texts import fill
from rrft_jax.tasks.visual_counting.prompts import TEMPLATES

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "tests" / "fixtures" / "super-clevr" / "images" / "superCLEVR_new_000000.png"


def generate(*args, **options):
    return subprocess.run(
        [sys.executable, "launch/generate.py", "--compilation_cache=", *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        **options,
    )


@pytest.mark.slow
def test_answers_about_one_image_two_and_none():
    short = ("--max_new_tokens=12", "--template=none")
    one = generate("--checkpoint=nano", f"--image={PICTURE}", "--question=How many trucks are there?")
    assert one.returncode == 0 and one.stdout.endswith("\n") and one.stdout.strip() and one.stderr == ""
    two = generate("--image", str(PICTURE), "--image", str(PICTURE), "--question", "How many?", *short)
    assert two.returncode == 0, two.stderr
    none = generate(*short, "--temperature=1", "--top_k=20", "--top_p=0.9", "--seed=4", input="Hello?\n\nHello?\n")
    assert none.returncode == 0 and none.stdout.count("\n") >= 2, none.stderr


MISTAKES = {
    "missing image": ("--image=nowhere.png", "error: --image=nowhere.png: no such file\n"),
    "damaged image": ("--image={cut}", "error: --image={cut}: not a readable image (image file is truncated"),
    "missing checkpoint": ("--checkpoint=nowhere", "error: --checkpoint='nowhere': neither 'nano', a HuggingFace"),
    "unfinished run": ("--checkpoint={run}", "error: --checkpoint={run} is the workdir of an unfinished run"),
    "temperature": ("--temperature=-1", "error: temperature -1.0 must be"),
}
QUICK = ("missing image", "missing checkpoint")  # each case starts a process


@pytest.mark.parametrize("case", [c if c in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in MISTAKES])
def test_mistakes_are_one_line(tmp_path, case):
    names = {"cut": tmp_path / "cut.png", "run": tmp_path / "run"}
    names["cut"].write_bytes(PICTURE.read_bytes()[:5000])
    names["run"].mkdir()
    (names["run"] / "versions.json").write_text("{}")
    (names["run"] / "config.json").write_text(json.dumps({"prompt": "ANS"}))
    arg, message = MISTAKES[case]
    done = generate(arg.format(**names), "--question=How many?")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(message.format(**names)) and done.stderr.count("\n") == 1, done.stderr


def test_help_names_the_default_template():
    done = generate("--help")
    assert "COUNT_COT for nano" in " ".join(done.stdout.split())


def test_default_template_is_that_of_the_training(tmp_path):
    (tmp_path / "versions.json").write_text("{}")
    trained = {"task": "visual_counting", "prompt": "zero_shot", "data": {"folder": ""}}
    (tmp_path / "config.json").write_text(json.dumps(trained))
    code = (
        "import runpy, sys; make = runpy.run_path('launch/generate.py', run_name='imported')['make_asker']; "
        "print(*(make(place, None)('Q?') for place in sys.argv[1:]), sep='|')"
    )
    places = ["nano", str(tmp_path), str(ROOT / "rrft_jax" / "assets" / "nano")]
    done = subprocess.run([sys.executable, "-c", code, *places], cwd=ROOT, capture_output=True, text=True)
    texts = [fill(TEMPLATES["COUNT_COT"], "Q?"), fill(TEMPLATES["COUNT_ZS"], "Q?"), "Q?"]
    assert done.stdout.strip().split("|") == texts, done.stderr
