"""Sides that are compared: they must agree before anything is timed, and what a busy machine spoils is repeated."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
TINY = "--size=tiny --prompts=2 --image=56 --text-tokens=64 --steps=2 --threads=0".split()
QUIET, BUSY, SPREAD = (1.0, 1.0), (1.0, 2.0), (1.2, 1.0)  # CPU-seconds and wall seconds of a step


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def fake_side(options, turn, name):
    """A side that says and reports what the options tell it to; a step that is not in the plan is an error."""
    turn.ready(**options[name].get("ready", {}))
    plan = iter(options[name]["steps"])
    while turn.begin():
        turn.end({"update": next(plan)})


def turns(plans, **named):
    from common.turns import take_turns, usable_cores

    sides = {name: partial(fake_side, name=name) for name in plans}
    options = {name: plan if isinstance(plan, dict) else {"steps": plan} for name, plan in plans.items()}
    return take_turns(sides, options, **{"steps": 2, "threads": 1, "core": usable_cores()[0], **named})


def test_a_busy_step_is_measured_again():
    found = turns({"ours": [QUIET, BUSY, QUIET, QUIET], "trl": [QUIET] * 4})
    kept = {name: [report[k] for k in ("steps", "busy_steps", "left_out")] for name, report in found.items()}
    assert kept == {"ours": [2, 0, 1], "trl": [3, 0, 0]}
    assert found["ours"]["wall_s"] == 1


def test_what_stays_busy_is_counted():
    found = turns({"ours": [BUSY] * 4 + [QUIET], "trl": [QUIET] * 5})  # the first is the warm-up
    assert (found["ours"]["steps"], found["ours"]["busy_steps"], found["trl"]["busy_steps"]) == (4, 3, 0)


def test_with_all_cores_no_step_is_busy():
    found = turns({"ours": [BUSY] * 3}, threads=0)
    assert (found["ours"]["steps"], found["ours"]["busy_steps"]) == (2, 0)


def test_a_side_that_stands_aside_repeats_nothing():
    found = turns({"ours": [QUIET] * 3, "rates": [BUSY] * 3}, aside=("rates",))
    assert found["ours"]["steps"] == found["rates"]["steps"] == found["rates"]["busy_steps"] == 2
    found = turns({"ours": [QUIET] * 5, "rates": [BUSY] * 5})
    assert found["ours"]["steps"] == 4


def test_more_than_one_core_is_an_error():
    with pytest.raises(RuntimeError, match="CPU / wall is 1.20 on one core: the side is not pinned"):
        turns({"ours": [SPREAD] * 3})
    assert turns({"ours": [SPREAD] * 3}, threads=0)["ours"]["cpu_over_wall"] == 1.2


def test_agreement_is_asked_for_once_and_before_the_first_step():
    asked = []
    turns({"ours": {"ready": {"loss": 1.0}, "steps": [QUIET] * 3}, "trl": [QUIET] * 3}, agree=asked.append)
    assert len(asked) == 1 and asked[0]["ours"]["loss"] == 1 and set(asked[0]) == {"ours", "trl"}


def sft_main(monkeypatch, losses, steps, *flags):
    """sft_step.py with two fake sides."""
    import sft_step
    from common import options

    plans = {
        name: {"ready": {"loss": loss, "grad_norm": 1.0}, "steps": steps}
        for name, loss in zip(("ours", "transformers"), losses, strict=True)
    }

    @contextmanager
    def problem(flags, args):
        yield plans

    monkeypatch.setattr(options, "NEEDS", {"transformers": ()})
    monkeypatch.setattr(sft_step, "problem", problem)
    monkeypatch.setattr(sft_step, "our_side", partial(fake_side, name="ours"))
    monkeypatch.setattr(sft_step, "transformers_side", partial(fake_side, name="transformers"))
    return sft_step.main(["--against=transformers", "--steps=1", "--threads=0", *flags])


def test_sides_that_agree_are_compared(monkeypatch, tmp_path):
    out = tmp_path / "out.json"
    sft_main(monkeypatch, (2.0, 2.00001), [QUIET] * 2, f"--json={out}")
    found = json.loads(out.read_text())
    assert found["ratio"] == 1 and found["parity"] == {"loss": pytest.approx(5e-6, rel=1e-3), "grad_norm": 0}


def test_sides_that_disagree_are_never_timed(monkeypatch, tmp_path):
    with pytest.raises(SystemExit) as ended:  # a step would fail with another error: there is no plan for any
        sft_main(monkeypatch, (2.0, 2.5), [], f"--json={tmp_path / 'out.json'}")
    said = "the sides disagree, nothing was timed: loss differs by 2.00e-01, more than 1e-04"
    assert ended.value.code == said and not (tmp_path / "out.json").exists()


def test_what_disagrees_in_a_grpo_step_is_named():
    from grpo_step import check_parity

    side = {"prompt": [[1, 2], [3, 4]], "log_probs": np.zeros((2, 2, 3)), "loss": 0.5, "grad_norm": 2.0}
    near = {**side, "log_probs": side["log_probs"] + 1e-6, "grad_norm": 2.0002}
    assert check_parity(near, side) == pytest.approx({"log_probs": 1e-6, "loss": 0, "grad_norm": 1e-4})
    wrong = {
        "prompt 1 differs in 1 of 2 tokens, the first is number 1, 5 and not 4": {"prompt": [[1, 2], [3, 5]]},
        "prompt 0 has 1 tokens, not 2": {"prompt": [[1], [3, 4]]},
        "log_probs differs by 1.00e-02, more than 2e-04": {"log_probs": side["log_probs"] - 1e-2},
        "loss differs by nan": {"loss": float("nan")},
        "loss differs by 1.00e\\+00, more than 1e-04, grad_norm differs by 5.0": {"loss": 1.0, "grad_norm": 3.0},
    }
    for message, change in wrong.items():
        with pytest.raises(SystemExit, match=message):
            check_parity({**side, **change}, side)


def test_greedy_continuations_must_be_equal():
    from generate import check_parity

    check_parity({"ours": {"greedy": [1, 2, 3]}, "transformers": {"greedy": [1, 2, 3]}})
    with pytest.raises(SystemExit, match="the greedy continuation differs in 2 of 3 tokens, the first is number 1"):
        check_parity({"ours": {"greedy": [1, 2, 3]}, "transformers": {"greedy": [1, 0, 0]}})


def test_no_side_scores_the_parity_batch_where_memory_is_measured(monkeypatch):
    import memory
    from common import options

    asked = []

    def take_turns(sides, options, **_):
        asked.append((*sides, options.against))
        return {name: {"memory": 2**21, "memory_imports": 2**20} for name in sides}

    monkeypatch.setattr(options, "NEEDS", {"trl": ()})
    monkeypatch.setattr(memory, "take_turns", take_turns)
    monkeypatch.setattr(memory, "make_checkpoint", lambda folder, config: folder)
    assert memory.main(["--against=trl", "--prompts=1"])["peaks"] == [{"prompts": 1, "ours": 1.0, "trl": 1.0}]
    assert asked == [("ours", None), ("trl", None)]


def test_the_rates_are_the_largest_around_the_phases(monkeypatch, capsys):
    import roofline
    from common import rates
    from common.checkpoint import model_config
    from common.cost import Shapes

    matmul, copy = iter([3e9, 1e9, 4e9]), iter([1e9, 2e9, 1e9])
    monkeypatch.setattr(rates, "matmul_rate", lambda clock: next(matmul))
    monkeypatch.setattr(rates, "copy_rate", lambda clock: next(copy))

    def measure(*_, around, **__):
        for _ in range(3):
            around()
        phase = {"compiled_flops": 8e9, "least_flops": 8e9, "least_bytes": 1e9}
        return {"prefill": {"seconds": 1.0, **phase}, "reference": {"seconds": 4.0, **phase}}

    monkeypatch.setattr(roofline, "measure", measure)
    args = SimpleNamespace(remat="none", repeats=1, threads=1)
    found = roofline.floors(model_config("tiny"), Shapes(1, 1, 32, 8, 1, 64), args, None)
    assert found["rates"]["matmul_flops_per_s"] == 4e9 and found["rates"]["copy_bytes_per_s"] == 2e9
    assert [phase["floor_s"] for phase in found["phases"].values()] == [2, 2]
    said = capsys.readouterr().out
    assert "the largest of 3 measurements (the least 1 and 1.0)" in said
    assert said.count("NOT A FLOOR: ") == 1 and "NOT A FLOOR: prefill ran at 200.0% of the matmul rate" in said


def test_the_growth_of_time_stands_beside_that_of_the_counted_cost():
    from roofline import PHASES, growth

    quadratic = lambda x: {name: float(x * x) for name in PHASES}  # noqa: E731
    linear = lambda x: {name: 5.0 + x for name in PHASES}  # noqa: E731
    found = [{"value": x, **quadratic(x), "least_gflop": {**linear(x), "prefill": 1.0}} for x in (1, 2, 4)]
    assert growth(found)["update"] == {"seconds": 2.0, "least_gflop": 1.0}
    assert growth(found)["prefill"] == {"seconds": 2.0, "least_gflop": None}


def test_a_sweep_saves_both_growths(monkeypatch, tmp_path, capsys):
    import roofline

    def measure(config, s, *_, **__):
        return {name: {"seconds": float(s.G), "least_flops": 1e9 * s.G} for name in roofline.PHASES}

    monkeypatch.setattr(roofline, "measure", measure)
    out = tmp_path / "out.json"
    roofline.main(["--sweep", "group", "--threads=0", f"--json={out}"])
    found = json.loads(out.read_text())
    assert [one["least_gflop"]["update"] for one in found["sweeps"]["group"]] == [1, 2, 4, 8, 16, 32]
    assert found["growth"]["group"]["update"] == {"seconds": 1, "least_gflop": 1}
    assert capsys.readouterr().out.count("  least GFLOP") == 4


def run(script, *flags, out):
    quick = "--xla_backend_optimization_level=0"  # compiles much, computes little
    path = os.pathsep.join([str(ROOT), *(p for p in sys.path if p)])
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path, "XLA_FLAGS": quick}
    command = [sys.executable, str(FOLDER / script), *TINY, *flags, f"--json={out}"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


ALONE_OR_AGAINST = [
    pytest.param([], marks=pytest.mark.slow, id="alone"),
    pytest.param(["--against=transformers"], marks=pytest.mark.parity, id="against transformers"),
]


@pytest.mark.parametrize("against", ALONE_OR_AGAINST)
def test_a_supervised_step(against, tmp_path):
    if against:
        pytest.importorskip("torch")
    found = run("sft_step.py", "--new-tokens=4", "--micro-batches=2", *against, out=tmp_path / "out.json")
    assert found["ours"]["steps"] == 2 and found["ours"]["cpu_s"] > 0 and np.isfinite(found["ours"]["loss"])
    assert not against or (found["ratio"] > 0 and set(found["parity"]) == {"loss", "grad_norm"})


@pytest.mark.parametrize("against", ALONE_OR_AGAINST)
def test_sampling(against, tmp_path):
    if against:
        pytest.importorskip("torch")
    found = run("generate.py", "--new-tokens=4", "--group=2", *against, out=tmp_path / "out.json")
    assert found["ours"]["tokens_per_s"] > 0 and set(found["ours"]["phases"]) == {"generate"}
    assert "greedy" not in found["ours"] and ("ratio" in found) == bool(against)


@pytest.mark.parity
def test_a_grpo_step_against_trl(tmp_path):
    pytest.importorskip("trl")
    found = run("grpo_step.py", "--new-tokens=4", "--group=2", "--against=trl", out=tmp_path / "out.json")
    assert found["parity"]["log_probs"] < 2e-5 and found["ratio"] > 0
    assert {"prefill", "decode", "reference", "update"} <= set(found["trl"]["phases"])


@pytest.mark.parity
def test_trl_on_a_gpu_runs_dry_on_a_cpu(tmp_path):
    pytest.importorskip("trl")
    out = tmp_path / "out.json"
    command = [sys.executable, str(FOLDER / "gpu_trl.py"), "--tiny", "--rows=2", "--steps=2", f"--json={out}"]
    done = subprocess.run(command, env={**os.environ, "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert len(found["steps"]) == 3 and found["step_s"] > 0 and str(tmp_path) not in out.read_text()
    assert {"prefill", "decode", "reference", "update"} <= set(found["phases"])


@pytest.mark.parity
def test_trl_without_a_gpu_says_so(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("trl")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    out = tmp_path / "out.json"
    done = subprocess.run([sys.executable, str(FOLDER / "gpu_trl.py"), f"--json={out}"], capture_output=True, text=True)
    assert done.returncode == 1 and "torch sees no GPU" in json.loads(out.read_text())["error"]
