"""The benchmark scripts start without torch, and our side of a GRPO step runs through them at a tiny size."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.build import quick_jit

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


@pytest.mark.slow
def test_a_start_is_timed_as_far_as_its_first_step(tmp_path):
    out = tmp_path / "out.json"
    small = ["--config=configs/grpo_counting.py:runlocal", "--starts=1", f"--json={out}"]
    done = run(str(FOLDER / "start_up.py"), *small)
    assert done.returncode == 0, done.stderr
    (start,) = json.loads(out.read_text())["starts"]
    assert 0 < start["held-out sets evaluated"] < start["first step done"]


def test_products_of_a_compiled_program_are_counted_as_often_as_they_run(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from common.hlo import dot_flops

    def program(x, w):
        y, _ = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, w)
        return jax.lax.while_loop(lambda y: y.sum() < 1, lambda y: y @ w[0], y)

    text = quick_jit(program).lower(jnp.ones((4, 16)), jnp.ones((3, 16, 16))).compile().as_text()
    product = 2 * 4 * 16 * 16
    assert dot_flops(text) == 4 * product and dot_flops(text, unknown_trips=5) == 8 * product


def test_the_least_cost_grows_as_it_should(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from common.checkpoint import model_config
    from common.cost import Shapes, phases

    config, one = model_config("tiny"), Shapes(B=1, G=1, P=32, C=8, I=1, n=64)
    base, group, batch = (phases(config, dataclasses.replace(one, **s)) for s in ({}, {"G": 8}, {"B": 8}))
    assert group["prefill"] == base["prefill"] and group["decode"].flops == 8 * base["decode"].flops
    for name in base:
        assert batch[name].flops == pytest.approx(8 * base[name].flops)
        assert base[name].flops <= group[name].flops <= batch[name].flops


def test_all_rows_but_one_end_early(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from long_tail import eos_for_one_long_row

    tokens = np.random.default_rng(0).integers(0, 2000, (16, 128))
    eos = eos_for_one_long_row(tokens, long=3, short=16)
    ends = [np.flatnonzero(np.isin(row, eos))[:1] for row in tokens]
    assert len(ends[3]) == 0 and all(8 <= end.item() < 16 for end in ends[:3] + ends[4:])
    with pytest.raises(ValueError, match="give more --new-tokens"):
        eos_for_one_long_row(np.zeros((2, 8), int), long=0, short=1)
