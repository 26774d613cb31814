"""launch/evaluate.py as a user runs it: interrupted by SIGKILL, on published files, over a real server."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.launch.test_serve import serving
from tests.training.runs import stop_when

ROOT = Path(__file__).parents[2]
SHORT = ("--max_new_tokens=8", "--batch=2")
ENDPOINT = ("--endpoint=http://127.0.0.1:1/v1", "--model=m")


def start(*args):
    command = [sys.executable, "launch/evaluate.py", "--compilation_cache=", *args]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(command, cwd=ROOT, text=True, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def evaluate(*args, code=0):
    process = start(*args)
    out, err = process.communicate()
    assert process.returncode == code, err[-4000:]
    return out, err


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.slow
def test_killed_and_started_again_it_answers_each_question_once(tmp_path):
    arguments = ("--checkpoint=nano", "--benchmark=counting_id", "--limit=16", *SHORT)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    evaluate(*arguments, f"--output={whole}")
    answered = parts / "counting_id.jsonl"
    process = start(*arguments, f"--output={parts}")
    stop_when(process, lambda: answered.exists() and answered.read_bytes().count(b"\n") >= 2, signal.SIGKILL)
    before = answered.read_bytes()
    assert not (parts / "counting_id.json").exists()
    evaluate(*arguments, f"--output={parts}")
    assert answered.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    by_id = lambda file: {record["id"]: record for record in lines(file)}  # noqa: E731
    assert len(lines(answered)) == 16 and by_id(answered) == by_id(whole / "counting_id.jsonl")
    assert json.loads((parts / "counting_id.json").read_text()) == json.loads((whole / "counting_id.json").read_text())
    _, err = evaluate(*arguments, "--seed=1", f"--output={parts}", code=2)
    assert "holds another evaluation" in err and "'seed': 0" in err


@pytest.mark.slow
def test_published_files_get_the_published_rows_beside_them(tmp_path):
    folder = tmp_path / "data"
    (folder / "test_images").mkdir(parents=True)
    Image.new("RGB", (96, 64), "gray").save(folder / "test_images" / "a.png")
    records = [
        {"id": f"q{i}", "image": "a.png", "problem": f"How many cubes are there beside {i}?", "answer": str(i)}
        for i in range(3)
    ]
    records.append({"id": "bad", "image": "missing.png", "problem": "Q", "answer": "1"})
    (folder / "Visual-Counting-id-test-1k.json").write_text(json.dumps(records))
    arguments = ("--checkpoint=nano", f"--data_dir={folder}", "--benchmark=counting_id", *SHORT, "--prompt=cot")
    out, err = evaluate(*arguments, f"--output={tmp_path / 'out'}")
    assert "3 records read, 1 skipped" in err and "missing.png" in err
    assert "| Qwen2-VL-2B Reason-RFT-Zero (published)" in out and "98.40" in out
    assert [r["id"] for r in lines(tmp_path / "out" / "counting_id.jsonl")] == ["q0", "q1", "q2"]
    (told,) = json.loads((tmp_path / "out" / "counting_id.json").read_text())["skipped"]
    assert "missing.png" in told and "counting_id: 1 of its records" in out
    _, err = evaluate(*arguments, "--benchmark=counting_ood", f"--output={tmp_path / 'ood'}", code=2)
    assert "has no Visual-Counting-ood-test-1k.json for counting_ood" in err


@pytest.mark.slow
def test_a_served_model_answers_like_its_checkpoint(tmp_path):
    """Greedy text over the protocol, pictures as PNG, equals our sampler's on the same pictures."""
    common = ("--benchmark=spatial_left", "--limit=3", "--decoding=greedy", "--prompt=zero_shot", SHORT[0])
    evaluate("--checkpoint=nano", *common, f"--output={tmp_path / 'here'}")
    with serving("--max_new_tokens=8", "--compilation_cache=") as (_, url):
        out, _ = evaluate(f"--endpoint={url}", "--model=nano", *common, f"--output={tmp_path / 'there'}")
    assert re.search(r"nano, strict_score", out)
    texts = [{r["id"]: r["texts"] for r in lines(tmp_path / w / "spatial_left.jsonl")} for w in ("here", "there")]
    assert texts[0] == texts[1] and len(texts[0]) == 3


def test_dry_run_of_an_endpoint_says_what_it_would_cost_and_leaves_nothing(tmp_path):
    asked = ("--benchmark=spatial_id", "--limit=3", "--samples=2", "--leave_out=top_k,n", "--dry-run")
    out, _ = evaluate(*ENDPOINT, *asked, f"--output={tmp_path / 'out'}")
    assert "spatial_id: 3 questions; the first:\nPlease answer only with functions." in out
    assert "3 questions in 6 requests; nothing was sent" in out and "6 images" in out
    assert not (tmp_path / "out").exists()


MISTAKES = {
    (): "give either --checkpoint, or --endpoint with --model",
    ("--dtype=bfloat16", "--batch=4", *ENDPOINT): "--batch, --dtype: of no use with --endpoint",
    ("--checkpoint=nano", "--timeout=3"): "--timeout: of no use with --checkpoint",
    ("--checkpoint=nano", "--benchmark=countng_id"): "--benchmark='countng_id' is no benchmark; did you mean",
    ("--checkpoint=nano", "--limit=1", "--prompt=cott"): "prompt 'cott' is neither a paradigm of",
    ("--checkpoint=nano", "--limit=1", "--decoding=greedy", "--samples=4"): "--samples=4 with temperature 0",
    ("--top_p=1.5", *ENDPOINT): "--top_p 1.5 must lie in (0, 1]",
    ("--checkpoint=nano", "--temperature=-1"): "--temperature -1.0 must be >= 0",
    ("--checkpoint=nano", "--decoding=greedy", "--top_k=5"): "--top_k: of no use with temperature 0",
    ("--leave_out=topk", *ENDPOINT): "endpoint leave_out=['topk']: choose from",
    ("--checkpoint=nowhere",): "--checkpoint='nowhere': neither 'nano'",
}


# Each takes a process of its own, so all but one are slow.
SOME = [given if k == 1 else pytest.param(given, marks=pytest.mark.slow) for k, given in enumerate(MISTAKES)]


@pytest.mark.parametrize("given", SOME)
def test_mistakes_are_one_line(tmp_path, given):
    out, err = evaluate(*given, f"--output={tmp_path / 'out'}", code=2)
    assert out == "" and err.startswith("error: ") and MISTAKES[given] in err and err.count("\n") == 1, err
    assert not (tmp_path / "out").exists()
