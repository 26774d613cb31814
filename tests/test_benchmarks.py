"""The benchmark scripts start without torch, and our side of a GRPO step runs through them at a tiny size."""

import dataclasses
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrft_jax.models.qwen2_5_vl.windows import attend_windows
from rrft_jax.models.registry import make_model
from tests.models.build import TINY, Visual, pack, quick_jit, tiny_params
from tests.models.families import FIELDS, tiny

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
NANO = f"--checkpoint={ROOT / 'rrft_jax' / 'assets' / 'nano'}"
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
    tiny = "--size=tiny --prompts=2 --group=2 --new-tokens=4 --image=56 --text-tokens=64 --steps=2 --threads=0".split()
    done = run(str(FOLDER / "grpo_step.py"), *tiny, "--json", str(out))
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert set(found["ours"]["phases"]) >= {"prefill", "decode", "reference", "update"} and "ratio" not in found
    for side in (found["ours"], *found["ours"]["phases"].values()):
        assert side["cpu_s"] >= 0 and side["wall_s"] >= 0
    assert found["ours"]["cpu_s"] > 0 and found["ours"]["steps"] == 2 and found["ours"]["memory"] > 2**20
    assert found["rates"]["gflop_per_s"] > 0 and found["rates"]["gb_per_s"] > 0 and found["rates"]["steps"] == 2
    assert set(found["floors"]) == {"prefill", "decode", "reference", "update"}
    assert all(0 < one["floor_s"] for one in found["floors"].values()) and "in the way: " in done.stdout
    assert str(tmp_path) not in out.read_text()


@pytest.mark.slow
def test_a_start_is_timed_as_far_as_its_first_step(tmp_path):
    out = tmp_path / "out.json"
    small = ["--config=configs/grpo_counting.py:runlocal", "--starts=1", f"--against={ROOT}", f"--json={out}"]
    done = run(str(FOLDER / "start_up.py"), *small)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    for (start,) in (found["starts"], found["against"]):
        assert 0 < start["held-out sets evaluated"] < start["first step done"] and start["CPU-seconds"] > 1


@pytest.mark.slow
def test_every_part_of_the_gpu_benchmark_runs(tmp_path):
    out = tmp_path / "out.json"
    done = run(str(FOLDER / "gpu.py"), "--tiny", "--json", str(out))
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    names = "setup rates parity decode update full_step parity_cudnn update_lora full_step_lora".split()
    parts = {name: found[name] for name in names}
    assert not any("error" in part for part in parts.values()), parts
    assert parts["decode"]["prefill_tokens_per_s"] > parts["decode"]["prefill_images_per_s"] > 0
    for name in ("", "_lora"):
        assert parts[f"update{name}"]["mfu_of_measured_rate"] > 0 and parts[f"full_step{name}"]["tokens_per_s"] > 0
    assert parts["update_lora"]["rank"] == 64
    # Here the device is the host: only rounding to bfloat16 shows, and it does.
    parity = parts["parity"]
    assert parity["within"] and parity["float32"]["gradient"] <= 1e-5 < parity["bfloat16"]["gradient"]
    assert "cpu" in parts["parity_cudnn"]["skipped"]


@pytest.mark.slow
def test_every_program_of_the_card_benchmark_runs(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.json"
    done = run(str(FOLDER / "card.py"), "--tiny", "--repeats=2", "--json", str(out), "--set", "model.frozen_dtype=nf4")
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert set(found["programs"]) == {"sample", "reference", "update"} and found["finite"]
    assert all(program["seconds"] > 0 and program["peak_bytes"] is None for program in found["programs"].values())
    assert 0 < found["planned"]["resident"] < found["planned"]["sampling"]
    monkeypatch.syspath_prepend(str(FOLDER))
    with pytest.raises(SystemExit):
        importlib.import_module("card").main(["--tiny", "--set", "model.frozen_type=nf4"])
    assert "frozen_type" in capsys.readouterr().err


@pytest.mark.slow
def test_a_gpu_benchmark_that_cannot_be_set_up_says_so_in_its_json(tmp_path):
    out = tmp_path / "out.json"
    done = run(str(FOLDER / "gpu.py"), "--tiny", "--attention=cudnn", "--json", str(out))
    found = json.loads(out.read_text())
    assert done.returncode == 1 and "machine" in found and "rates" not in found
    assert found["setup"]["error"].startswith("ValueError: config.model.attention=cudnn does not run on cpu")


def test_trl_on_a_gpu_is_compared_with_the_same_device_and_shapes_only(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from gpu_trl import compare

    found, step = {"device": "H200", "shapes": {"B": 2}}, {"full_step": {"step_s": 2.0}}
    for there, message in (
        ({"device": "H100", **step}, "its device is H100, here it is H200"),
        ({"shapes": {"B": 4}, **step}, "its shapes is {'B': 4}, here it is {'B': 2}"),
        ({}, "it holds no full_step"),
        ({"full_step": {"error": "out of memory"}}, "it holds no full_step"),
    ):
        with pytest.raises(ValueError, match=message):
            compare({**found, **there}, found)
    compare({**found, **step}, found)
    assert found["ours"] == step["full_step"]


def test_what_trl_is_compared_with_is_read_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(FOLDER))
    import gpu_trl

    monkeypatch.setattr(gpu_trl, "a_peer", lambda name: lambda _: name)
    theirs = tmp_path / "gpu.json"
    for text, message in ((None, "No such file"), ("[", "is no JSON"), ("[]", "is not what gpu.py writes")):
        if text is not None:
            theirs.write_text(text)
        with pytest.raises(SystemExit):
            gpu_trl.main([f"--compare={theirs}", f"--json={tmp_path / 'out.json'}"])
        assert message in capsys.readouterr().err and not (tmp_path / "out.json").exists()
    with pytest.raises(SystemExit):
        gpu_trl.main([f"--compare={theirs}", f"--json={theirs}"])
    assert "the same file" in capsys.readouterr().err and theirs.read_text() == "[]"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("gpu")


def test_a_part_of_the_gpu_benchmark_that_fails_costs_no_other(gpu, tmp_path, monkeypatch):
    def fails(self, found):
        raise RuntimeError("RESOURCE_EXHAUSTED:\n  out of memory")

    for name in gpu.PARTS:
        monkeypatch.setattr(gpu.Bench, name, fails if name == "decode" else lambda self, found: {})
    out = tmp_path / "out.json"
    found = gpu.main(["--json", str(out)])
    assert json.loads(out.read_text()) == found and gpu.failed(found)
    assert found.pop("decode")["error"] == "RuntimeError: RESOURCE_EXHAUSTED: out of memory"
    assert not gpu.failed(found) and list(found) == [name for name in gpu.PARTS if name != "decode"]
    assert gpu.failed({"parity": {"within": False}})


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "right"), [(None, True), (0.5, False)])
def test_the_gpu_benchmark_compares_an_attention_with_xla(scale, right, gpu, monkeypatch):
    """jax's dense attention in cuDNN's place, with the right scale of its scores and a wrong one."""
    from common.device_parity import kernel_against_xla

    dense = jax.nn.dot_product_attention

    def stand_in(*args, implementation, **kwargs):
        assert implementation == "cudnn"
        return dense(*args, **kwargs, scale=scale, implementation="xla")

    monkeypatch.setattr(jax.nn, "dot_product_attention", stand_in)
    found = kernel_against_xla("cudnn", tiny=True)
    assert found["within"] is right, found
    assert set(found) == {"tower", "prompt", "completions", "tolerance", "within"}


def test_a_difference_that_is_no_number_is_not_within_a_tolerance(gpu):
    from common.device_parity import TOLERANCE, difference

    expected = np.zeros(3), {"a": np.ones(2), "b": np.ones(2)}
    limits = TOLERANCE["float32"]
    assert difference(expected, expected, limits)["within"]
    for wrong in (np.float64("nan"), 1.01):
        found = difference((expected[0], {"a": np.ones(2), "b": np.array([1, wrong])}), expected, limits)
        assert not found["within"] and found["gradient_of"] == "b"
    assert not difference((np.full(3, np.nan), expected[1]), expected, limits)["within"]


@pytest.mark.slow
def test_peak_memory_over_prompts(tmp_path):
    out = tmp_path / "out.json"
    tiny = "--size=tiny --vocabulary=4096 --prompts 1 2 --group=2 --new-tokens=4 --image=56".split()
    done = run(str(FOLDER / "memory.py"), *tiny, "--json", str(out))
    assert done.returncode == 0, done.stderr
    peaks = json.loads(out.read_text())["peaks"]
    assert [peak["prompts"] for peak in peaks] == [1, 2] and all(peak["ours"] > 1 for peak in peaks)


@pytest.mark.parametrize(
    ("script", "options", "message"),
    [
        ("grpo_step", ["--prompts=0"], "--prompts: 0 is not a whole number of at least 1"),
        ("grpo_step", ["--size=9B"], "--size: '9B': choose one of tiny, "),
        ("grpo_step", ["--micro-batches=2", "--prompts=3"], "--micro-batches=2 must divide --prompts=3"),
        ("memory", ["--prompts", "2", "0"], "--prompts: 0 is not a whole number"),
        ("roofline", ["--image=113"], "--image=113 must be a multiple of 28"),
        ("roofline", ["--svg=x.svg"], "name some with --sweep"),
        ("roofline", ["--core=4000"], "--core: 4000: choose one of "),
        ("generate", ["--core=-1"], "--core: -1: choose one of "),
        ("grpo_step", ["--beta=-0.1"], "--beta: -0.1 is not a number of at least 0"),
        ("grpo_step", ["--beta=nan"], "--beta: nan is not a number of at least 0"),
        ("generate", ["--checkpoint=no/such"], "--checkpoint: no/such is no HuggingFace directory"),
        ("grpo_step", [NANO, "--text-tokens=3"], "--text-tokens=3: the chat template with 1 pictures is "),
        ("sft_step", [NANO, "--text-tokens=9", "--images=2"], "--text-tokens=9: the chat template with 2 pictures is "),
        ("long_tail", ["--compact", "8", "1"], "--compact: 1 is not a whole number of at least 2"),
        ("long_tail", ["--new-tokens=7"], "--new-tokens=7: give 8 or more"),
        ("start_up", ["--starts=0"], "--starts: 0 is not a whole number of at least 1"),
        ("start_up", ["--against=/dev"], "--against: /dev is no checkout of this repository"),
        ("sft_step", ["--group=2"], "unrecognized arguments: --group=2"),
        ("gpu", ["--minutes=0"], "--minutes: 0 is not a positive number"),
        ("gpu", ["--minutes=nan"], "--minutes: nan is not a positive number"),
        ("gpu", ["--json=/dev/null/out.json"], "--json=/dev/null/out.json: "),
        ("gpu_trl", ["--minutes=0"], "--minutes: 0 is not a positive number"),
        ("gpu_trl", ["--rows=3"], "--rows=3 must divide the 16 completions of a step"),
    ],
)
def test_bad_options_are_named(script, options, message, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(FOLDER))
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(script).main(options)
    said = capsys.readouterr().err
    assert ended.value.code == 2 and message in said.splitlines()[-1] and "Traceback" not in said


def test_a_peer_that_is_not_installed_is_named_before_anything_runs(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(FOLDER))
    import grpo_step
    from common import options

    monkeypatch.setattr(options, "NEEDS", {"trl": ("no_such_package",)})
    with pytest.raises(SystemExit):
        grpo_step.main(["--against=trl"])
    assert "trl needs no_such_package: pip install -e '.[bench]'" in capsys.readouterr().err


MEMORY = """
import os, subprocess, sys
sys.path.insert(0, {folder!r})
from common.turns import memory
if "child" in sys.argv:
    print(memory())
else:
    ballast = b"x" * 2**28
    subprocess.run([sys.executable, sys.argv[0], "child"], check=True)
    print(memory())
"""


def test_a_process_does_not_inherit_the_peak_memory_of_its_parent(tmp_path):
    (tmp_path / "script.py").write_text(MEMORY.format(folder=str(FOLDER)))
    done = run(str(tmp_path / "script.py"))
    child, parent = map(int, done.stdout.split())
    assert child < 2**27 < 2**28 < parent, done.stderr


def test_a_report_tells_median_and_spread_of_every_phase(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from common.turns import _report

    records = [{"update": (x, 2 * x), "apart: a": (9.0, 9.0)} for x in (3.0, 1.0, 2.0)]
    found = _report(records, {}, steps=3, threads=0)
    assert found["phases"]["update"] == {"cpu_s": 2.0, "wall_s": 4.0, "cpu_s_min": 1.0, "cpu_s_max": 3.0}
    assert (found["cpu_s"], found["wall_s"], found["steps"]) == (2.0, 4.0, 3)


def test_the_least_cost_of_a_case_counted_by_hand(monkeypatch):
    """Two layers, one block: D 4, 2 query heads of 2 on 1 key-value head, F 8, V 16; tower width 4."""
    monkeypatch.syspath_prepend(str(FOLDER))
    from common.cost import Shapes, phases, rematerialised

    from rrft_jax.models.qwen2_vl.config import Qwen2VLConfig, VisionConfig

    vision = VisionConfig(
        depth=1, embed_dim=4, num_heads=1, hidden_size=4, in_channels=1, patch_size=2, temporal_patch_size=1
    )
    config = Qwen2VLConfig(16, 4, 8, 2, 2, 1, 2, (1, 0, 0), vision, 0, 1, 2, 3)
    s = Shapes(B=3, G=2, P=10, C=4, I=2, n=8)
    kv, rest = 2 * (2 * 4 * 2), 2 * (4 * 4 + 4 * 4 + 3 * 4 * 8)  # k and v; q; o; gate, up and down
    layer = kv + rest
    pair = 2 * 2 * 2 * 2  # a query and a key: two products, two heads of two
    patches, blocks = 3 * 2 * 8, 2 * (4 * 4 * 4 + 2 * 4 * 16)  # qkv and proj; fc1 and fc2
    seen = 2 * 2 * 4 * 8  # a patch sees the 8 of its own picture
    embed, merger = 2 * 4 * 4, 2 * (16 * 16 + 16 * 4) / 4
    tower = patches * (embed + blocks + seen + merger)
    prompt = 3 * 10 * (layer + pair * 5)  # half of the prompt's keys on average
    prompt += 3 * (10 * kv + rest + pair * 10)  # the last layer: keys and values of all, the rest for one token
    own = 2 * 3 * 2 * 3 * (layer + pair * 12)  # three tokens of four are read again, each sees prompt and half of four
    head = 2 * 3 * 2 * 4 * 16 * 4
    found = phases(config, s)
    assert found["prefill"].flops == tower + prompt
    assert found["decode"].flops == own + head
    assert found["reference"].flops == tower + prompt + own + head
    assert found["update"].flops == 3 * found["reference"].flops - patches * embed  # no gradient of the pixels
    again = head + ((30 * 5 + 3 * 10) * pair + 2 * 18 * pair * 12 + patches * seen) / 2  # scores, not what they weigh
    assert rematerialised(config, s, "none") == rematerialised(config, s, "dots") == again
    assert rematerialised(config, s, "full") == again + prompt + own + patches * (blocks + seen)


@pytest.mark.parametrize("model_type", ["qwen2_vl", *FIELDS])
def test_the_tower_of_every_family_costs_what_its_compiled_program_does(model_type, monkeypatch):
    """Published proportions are data: windows, SwiGLU, DeepStack. Of a picture no larger than three windows the program
    attends to all, and of a larger one to each window and its two neighbours."""
    monkeypatch.syspath_prepend(str(FOLDER))
    from common.cost import Shapes, tower
    from common.hlo import dot_flops

    sizes = TINY if model_type == "qwen2_vl" else tiny(model_type)
    model, s, E = make_model(sizes), Shapes(B=2, G=1, P=10, C=1, I=1, n=32), sizes.vision.embed_dim
    patches = np.zeros((32, sizes.vision.patch_dim), np.float32)
    arguments = tiny_params(sizes)["vision"], pack([[Visual(4, 8)]] * 2, [[patches]] * 2, sizes)
    found = dot_flops(quick_jit(model.tower.encode).lower(*arguments).compile().as_text())
    windows = model_type == "qwen2_5_vl"
    window = sizes.vision.window_side**2 if windows else s.n
    assert found == tower(sizes, s) + windows * 4 * E * s.B * s.n * (s.n - window)  # the one block of two with windows
    if windows:
        q, k = (jnp.ones((s.B, *shape)) for shape in ((96, 2, E // 2), (2, 96, E // 2)))
        number = jnp.broadcast_to(jnp.arange(96) // window, (s.B, 96))
        text = quick_jit(attend_windows, static_argnums=1).lower(number, window, q, k, k).compile().as_text()
        assert dot_flops(text) == 4 * E * s.B * 96 * 3 * window


def test_products_of_a_compiled_program_are_counted_as_often_as_they_run(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from common.hlo import dot_flops

    def program(x, w):
        y, _ = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, w)
        return jax.lax.while_loop(lambda y: y.sum() < 1, lambda y: y @ w[0], y)

    text = quick_jit(program).lower(jnp.ones((4, 16)), jnp.ones((3, 16, 16))).compile().as_text()
    product = 2 * 4 * 16 * 16
    assert dot_flops(text) == 4 * product and dot_flops(text, unknown_trips=5) == 8 * product


def test_the_cheaper_branch_counts_in_one_round_of_its_loop(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from common.hlo import dot_flops

    def program(x, w):
        cheap, dear = (lambda x, w: jnp.tanh(x[:1] @ w) + x), (lambda x, w: jnp.tanh(x @ w) @ w)
        body = lambda x, i: (jax.lax.cond(i == 4, cheap, dear, x, w[i]), None)  # noqa: E731
        return jax.lax.scan(body, x, jnp.arange(5))[0]

    text = quick_jit(program).lower(jnp.ones((4, 16)), jnp.ones((5, 16, 16))).compile().as_text()
    assert dot_flops(text) == 2 * 16 * 16 * (4 * 2 * 4 + 1)


def test_a_floor_is_the_longer_of_products_and_traffic(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from common import floor

    # By hand: 1 GFLOP/s and 1 GB/s with one core, half of that by the clock on the wall.
    matmul, copy = 2 * floor.SIZE**3 / 1e9, 2 * floor.COPIED / 1e9
    seconds = lambda x: {"cpu_s": x, "wall_s": 2 * x}  # noqa: E731
    side = {"phases": {"matmul": seconds(matmul), "copy": seconds(copy)}, "steps": 5, "busy_steps": 1, "left_out": 3}
    rates = floor.machine_rates(side, threads=1)
    assert rates == {"gflop_per_s": pytest.approx(1), "gb_per_s": pytest.approx(1), "steps": 8, "busy_steps": 4}
    report = {"phases": {"prefill": seconds(6.0), "update": seconds(5.0), "host": seconds(1.0)}}
    least = {"prefill": (3e9, 1e9), "update": (1e9, 4e9), "reference": (1e9, 1e9)}
    found = floor.floors(report, least, rates, threads=1)
    assert found == {
        "prefill": {"least_gflop": 3.0, "floor_s": pytest.approx(3), "seconds": 6.0, "over_floor": pytest.approx(2)},
        "update": {"least_gflop": 1.0, "floor_s": pytest.approx(4), "seconds": 5.0, "over_floor": pytest.approx(1.25)},
    }
    text = floor.describe(found, rates, {"cpu_s": 21.0}, "trl", threads=1)
    assert "1 GFLOP/s, 1.0 GB/s; 4 of the 8 times they were measured not quiet" in text
    assert "in the way: prefill, 3.000 of the 4.000 s" in text and "trl / floors: 3.00, and no more" in text
    wall = floor.machine_rates(side, threads=0)
    assert floor.floors(report, least, wall, threads=0)["update"]["floor_s"] == pytest.approx(8)


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


HANG = """
import sys, time
sys.path.insert(0, {folder!r})
import gpu
gpu.measure = lambda *_: time.sleep(600)
gpu.GRACE = 0.005
gpu.main(["--tiny", "--minutes=0.005"])
"""


def test_the_gpu_benchmark_ends_whatever_hangs():
    done = run("-c", HANG.format(folder=str(FOLDER)))
    assert done.returncode == 1 and "Timeout" in done.stderr, done.stderr
