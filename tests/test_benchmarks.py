"""The benchmark scripts start without torch, and our side of a GRPO step runs through them at a tiny size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
HELP = """
import runpy, sys
sys.modules["torch"] = sys.modules["trl"] = None
sys.path.insert(0, {folder!r})
for script in {scripts!r}:
    sys.argv = [script, "--help"]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as done:
        assert not done.code, script
"""


def run(*command):
    quick = "--xla_backend_optimization_level=0"  # compiles much, computes little
    path = os.pathsep.join([str(ROOT), *(p for p in sys.path if p)])
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path, "XLA_FLAGS": quick}
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True)


def test_every_script_explains_itself():
    scripts = sorted(str(p) for p in FOLDER.glob("*.py"))
    done = run("-c", HELP.format(folder=str(FOLDER), scripts=scripts))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: ") == len(scripts) >= 6
    assert done.stdout.count("--json") >= 2 * len(scripts)  # in the doc or usage, and in the list


@pytest.mark.slow
def test_our_side_of_a_grpo_step(tmp_path):
    out = tmp_path / "out.json"
    tiny = "--size=tiny --prompts=2 --group=2 --new-tokens=4 --image=56 --text-tokens=40 --steps=2 --threads=0".split()
    done = run(str(FOLDER / "grpo_step.py"), *tiny, "--json", str(out))
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert set(found["ours"]["phases"]) >= {"prefill", "decode", "reference", "update"} and "ratio" not in found
    for side in (found["ours"], *found["ours"]["phases"].values()):
        assert side["cpu_s"] >= 0 and side["wall_s"] >= 0
    assert found["ours"]["cpu_s"] > 0 and found["ours"]["steps"] == 2 and found["ours"]["memory"] > 2**20
