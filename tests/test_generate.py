"""launch/generate.py as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rrft_jax.tasks.structure_perception import prompts as structure
from rrft_jax.tasks.texts import fill
from rrft_jax.tasks.visual_counting import prompts as counting

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
    for task, prompt in (("visual_counting", "zero_shot"), ("structure_perception", "cot")):
        workdir = tmp_path / task
        workdir.mkdir()
        (workdir / "versions.json").write_text("{}")
        (workdir / "config.json").write_text(json.dumps({"task": task, "prompt": prompt, "data": {"folder": ""}}))
    code = (
        "import json, sys; "
        "from rrft_jax.evaluation.asking import make_prompt_fn as make; "
        "print(json.dumps([make(place, None)(q) for place, q in json.loads(sys.argv[1])]))"
    )
    counted, figure, choice = "Q?", "Find x.", "Find x. Choices: A: 10, B: 20, C: 30, D: 40."
    asked = [
        ("nano", counted, fill(counting.TEMPLATES["COUNT_COT"], counted)),
        (str(tmp_path / "visual_counting"), counted, fill(counting.TEMPLATES["COUNT_ZS"], counted)),
        (str(ROOT / "rrft_jax" / "assets" / "nano"), counted, counted),
        (str(tmp_path / "structure_perception"), figure, fill(structure.TEMPLATES["GEO_NUM_COT"], figure)),
        (str(tmp_path / "structure_perception"), choice, fill(structure.TEMPLATES["GEO_CHOICE_COT"], choice)),
    ]
    given = json.dumps([(place, question) for place, question, _ in asked])
    done = subprocess.run([sys.executable, "-c", code, given], cwd=ROOT, capture_output=True, text=True)
    assert json.loads(done.stdout) == [text for *_, text in asked], done.stderr
