"""The real programs compiled for eight devices that are not there: what must not be in their text, and the launcher.

On fake CPU devices always; for a TPU where libtpu is installed: make aot.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from rrft_jax.models.qwen2_vl.config import config_to_dict
from rrft_jax.planning.hlo import CompiledText
from rrft_jax.planning.text import summary
from tests.devices import run_on_devices
from tests.models.build import TINY, VISION

ROOT = Path(__file__).parents[2]
# Every size is another number, so that a shape tells what an array is.
L, V, D, M, K, A = 3, 1024, 64, 96, 2, 16
B, G, C, P, n = 8, 4, 24, 40, 16
MODEL = replace(
    TINY, vocab_size=V, hidden_size=D, intermediate_size=M, num_layers=L, head_dim=A, mrope_section=(4, 2, 2),
    vision=replace(VISION, hidden_size=D, embed_dim=32),
)  # fmt: skip
MESH = {"fsdp": 4, "tensor": 2}
FIELDS = {
    "train.prompts": B, "train.micro_batches": 2, "rollout.group": G, "rollout.max_completion_length": C,
    "buckets.prompt": P, "buckets.images": 1, "buckets.patches": n, "model.logits_chunk": 8, "model.remat": "full",
    "model.dtype": "bfloat16", **{f"mesh.{axis}": size for axis, size in MESH.items()},
}  # fmt: skip


def launch(folder, topology, *more, **fields):
    """The finished process of launch/compile.py, and the folder with the compiled texts and report.json."""
    (folder / "config.json").write_text(json.dumps(config_to_dict(MODEL, "bfloat16")))
    given = [f"--config.{name}={value}" for name, value in {**FIELDS, **fields}.items()]
    command = [
        sys.executable, "launch/compile.py", "--config=configs/grpo_counting.py", f"--topology={topology}",
        f"--model_config={folder / 'config.json'}", f"--text={folder}", f"--json={folder / 'report.json'}", *given,
        *more,
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": "--xla_backend_optimization_level=0",
           "JAX_ENABLE_COMPILATION_CACHE": "false"}  # fmt: skip  (a program from disk has less text)
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cpu")
    done = launch(folder, "cpu:8", "--hbm_gib=1")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.fixture(scope="module")
def on_tpu(tmp_path_factory):
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("libtpu is not installed: make aot")
    folder = tmp_path_factory.mktemp("tpu")
    done = launch(folder, "v5e:2x4")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def texts(folder):
    return {file.stem: CompiledText(file.read_text()) for file in folder.glob("*.txt")}


def check_collectives(folder, mesh=MESH):
    assert {"sample", "step"} <= set(texts(folder))
    """One layer, or the embedding outside loops, comes together at a time; the decode loop gathers nothing."""
    layer = D * M  # its largest kernel
    for name, text in texts(folder).items():
        for c in text.collectives():
            shape = [int(x) for x in c.shape.split("[")[1].rstrip("]").split(",") if x]
            size = 1
            for length in shape:
                size *= length
            table = D in shape and size >= V * D // mesh["tensor"]
            assert not (c.in_loop and table), f"{name}: {c} moves the vocabulary table in a loop"
            several = c.kind == "all-gather" and size >= 2 * layer and L in shape
            assert not several or name == "sample" and not c.in_loop, f"{name}: {c} gathers more than a layer"


def check_replication(folder, mesh=MESH):
    """Patches, logits and caches are split as the rule table says."""
    shards = mesh["fsdp"]
    for name, text in texts(folder).items():
        for computation, body in text.computations.items():
            for i in body.values():
                for a in i.arrays:
                    rows = 1
                    for length in a.shape[:-2]:
                        rows *= length
                    patches = a.shape[-2:] == (n, 1176) and rows > B // shards
                    assert not patches, f"{name}/{computation}: patches {a} of more than a device's prompts"
                    logits = len(a.shape) > 1 and a.shape[-1] == V and a.dtype == "f32" and a.shape[0] != D
                    # While sampling they are whole where the heads are, of a device's own members.
                    if logits and name == "sample" and mesh["tensor"] == 1:
                        logits = rows * a.shape[-2] > B // shards * G
                    assert not logits, f"{name}/{computation}: logits {a} over the whole vocabulary"
                    cache = mesh["tensor"] > 1 and len(a.shape) == 6 and a.shape[-3:] == (C, K, A)
                    assert not cache, f"{name}/{computation}: cache {a} not split over tensor"


def test_no_more_than_a_layer_at_a_time_comes_together(on_cpu):
    check_collectives(on_cpu[0])


def test_patches_logits_and_caches_are_split(on_cpu):
    check_replication(on_cpu[0])


@pytest.mark.slow
def test_the_same_on_a_mesh_of_fsdp_alone(tmp_path):
    mesh = {"fsdp": 8, "tensor": 1}
    fields = {**{f"mesh.{axis}": size for axis, size in mesh.items()}, "train.micro_batches": 1}
    done = launch(tmp_path, "cpu:8", "--hbm_gib=1", "--programs=sample,step", **fields)
    assert done.returncode == 0, done.stdout + done.stderr
    check_collectives(tmp_path, mesh)
    check_replication(tmp_path, mesh)


def test_programs_that_fit_beside_an_evaluation_that_does_not():
    chip, memory = SimpleNamespace(hbm=8), SimpleNamespace(peak=4)
    report = SimpleNamespace(fits=lambda _: True, bound=1.0, memory=memory)
    plan = SimpleNamespace(evaluation_fits=lambda capacity: capacity > 8)
    said = summary([report], chip, None, None, None, plan)
    assert said.startswith("does not fit: the held-out evaluation, as planned. What is compiled fits: at most 0.00 GiB")


ADVICE = """
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.planning.text import advice
from rrft_jax.config.command_line import load_config
from tests.planning.test_compile import K, MODEL
for given in ({"fsdp": 8, "data": 1}, {"data": 8}, {"preset": "data"}):
    config = load_config("configs/grpo_counting.py")
    config.mesh.update(given)
    tips = advice(config, MODEL, make_mesh(**config.mesh, kv_heads=K))
    print(*(tip for tip in tips if "mesh" in tip), sep="|")
"""


def test_advice_is_a_mesh_of_the_same_devices():
    one, two, three = run_on_devices(ADVICE).splitlines()
    whole = "config.mesh.data=1 config.mesh.fsdp=8 config.mesh.tensor=1"
    split = ": heads and vocabulary split further, for more communication"
    spread = ": parameters and optimizer over all 8 devices, now 1"
    assert one == f"config.mesh.data=1 config.mesh.fsdp=4 config.mesh.tensor=2{split}"
    by_hand = "config.mesh.data=4 config.mesh.fsdp=1 config.mesh.tensor=2"
    assert two == f"{whole}{spread}|{by_hand}{split}"
    none = " without config.mesh.preset"
    assert three == f"{whole}{none}{spread}|{by_hand}{none}{split}"


def test_the_report(on_cpu):
    folder, out = on_cpu
    report = json.loads((folder / "report.json").read_text())
    assert report["fits"] and report["mesh"] == {"data": 1, **MESH}
    programs = {p["name"]: p for p in report["programs"]}
    assert list(programs) == ["sample", "reference", "step"]
    for program in programs.values():
        memory = program["memory"]
        assert 0 < memory["arguments"] < program["peak_bytes"] == sum(memory.values()) < 2**30
        assert program["flops"] > 0 and program["traffic"] > memory["arguments"] and program["collectives"]
    assert [p["planned_bytes"] is None for p in programs.values()] == [False, True, False]
    # Forward, forward again, and backward at twice that; the reference pass is one forward.
    assert 3.5 < programs["step"]["flops"] / programs["reference"]["flops"] < 4.1
    # Sampling and the reference pass see the same tokens, one by one or together; cached steps attend to padding too.
    assert 0.9 < programs["sample"]["flops"] / programs["reference"]["flops"] < 1.6
    assert 0 < report["planned_evaluation_bytes"] < 2**30
    assert "held-out evaluation, planned and not compiled: 0." in out
    for word in ("memory per device", "resident besides", "TFLOP", "interconnect", "largest arrays", "fits: at most"):
        assert word in out


@pytest.mark.slow
def test_what_does_not_fit_is_said_with_what_would_help(tmp_path):
    done = launch(tmp_path, "cpu:8", "--hbm_gib=1e-5", "--programs=reference")
    assert done.returncode == 1, done.stderr
    assert "DOES NOT FIT" in done.stdout and "largest arrays" in done.stdout
    for setting in ("group_chunks=2", "or a larger slice", "lower config.eval.batch"):
        assert setting in done.stdout, done.stdout
    assert json.loads((tmp_path / "report.json").read_text())["fits"] is False


def test_a_plan_alone_is_that_of_the_topology(tmp_path):
    done = launch(tmp_path, "cpu:8", "--plan", "--hbm_gib=1e-5")
    assert done.returncode == 1, done.stderr
    assert (
        "memory per device, 8 device(s) (data 1 x fsdp 4 x tensor 2)" in done.stdout and "compiled" not in done.stdout
    )
    assert "DOES NOT FIT: at most 0." in done.stdout and not list(tmp_path.glob("*.txt"))


@pytest.mark.parametrize(
    ("topology", "fields", "message"),
    [
        ("v9:2x4", {}, "give KIND:SHAPE with KIND one of v5e"),
        pytest.param(
            "cpu:8", {"train.micro_batches": 8}, "config.train.micro_batches=8 must divide", marks=pytest.mark.slow
        ),
        ("cpu:8", {"mesh.fsdp": 3}, "change config.mesh"),
        pytest.param(
            "cpu:8", {"model.attention": "splash"}, "config.model.attention=splash does not run on cpu: choose auto or",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_mistakes_are_one_line(tmp_path, topology, fields, message):
    done = launch(tmp_path, topology, **fields)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()[-1]) < 300
    assert re.search(message, done.stderr), done.stderr


@pytest.mark.slow
def test_tpu_no_more_than_a_layer_at_a_time_comes_together(on_tpu):
    check_collectives(on_tpu[0])


@pytest.mark.slow
def test_tpu_patches_logits_and_caches_are_split(on_tpu):
    check_replication(on_tpu[0])


@pytest.mark.slow
def test_tpu_report_has_capacity_and_times(on_tpu):
    folder, out = on_tpu
    report = json.loads((folder / "report.json").read_text())
    assert report["chip"]["name"] == "v5e" and "of 15.75 GiB" in out and "a step takes at least" in out
    assert all(set(p["seconds"]) == {"compute", "memory", "interconnect"} for p in report["programs"])
    assert all(p["compiler_cycles"] > 0 for p in report["programs"])


def kernels(folder):
    """How often each program's text calls a kernel."""
    return {p.stem: p.read_text().count('custom_call_target="tpu_custom_call"') for p in folder.glob("*.txt")}


@pytest.mark.slow
def test_tpu_attends_by_kernels_but_in_the_decode_loop(on_tpu):
    """Tower, prompt and completions; the update does each forward, forward again, and backward in two kernels."""
    assert kernels(on_tpu[0]) == {"sample": 2, "reference": 3, "step": 12}


@pytest.mark.slow
def test_tpu_attends_without_kernels_where_xla_is_chosen(on_tpu, tmp_path):
    done = launch(tmp_path, "v5e:2x4", "--programs=reference", **{"model.attention": "xla"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert kernels(tmp_path) == {"reference": 0}
