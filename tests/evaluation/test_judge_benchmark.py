"""Judges measured on pairs: RewardBench's protocol by hand, real pairs of LLMBar, and the command against a server."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from rrft_jax.evaluation.judge_benchmark import Pair, measure, read_pairs
from rrft_jax.evaluation.rewardbench import SECTIONS, overall, section_scores
from rrft_jax.remote.client import Trouble
from rrft_jax.rewards.judge.in_process import InProcessJudge, in_process
from rrft_jax.rewards.judge.judging import Judge
from rrft_jax.rewards.judge.rubric import PAIRWISE, default_rubric
from rrft_jax.rewards.judge.settings import read_settings
from tests.rewards.judge.lent import Lent
from tests.web import ROOT, running

LLMBAR = Path(__file__).parents[1] / "fixtures" / "llmbar"
RUBRIC = default_rubric(PAIRWISE)


def shorter(content):
    """A toy judge: the shorter response wins; of equal lengths it says nothing."""
    a, b = re.findall(r"BEGIN RESPONSE . \w+\]\]\n(.*?)\n\[\[END", content, re.DOTALL)
    return "Well..." if len(a) == len(b) else json.dumps({"winner": "A" if len(a) < len(b) else "B"})


async def ask_shorter(messages):
    return shorter(messages[-1]["content"])


def test_rewardbench_by_hand():
    assert sum(sum(subsets.values()) for subsets in SECTIONS.values()) == 2985 - 447 + 984
    assert sum(map(len, SECTIONS.values())) == 23
    hard = {"mt-bench-hard": 1.0, "llmbar-natural": 0.5}
    assert section_scores(hard) == {"Chat Hard": pytest.approx((37 + 50) / 137)}
    every = {name: 1.0 for subsets in SECTIONS.values() for name in subsets}
    every["math-prm"] = 0.0
    assert section_scores(every)["Reasoning"] == pytest.approx(0.5) and overall(every) == pytest.approx(0.875)
    with pytest.raises(ValueError, match="llmbar-other: no subset"):
        section_scores({"llmbar-other": 1.0})
    with pytest.raises(ValueError, match="missing: math-prm"):
        overall({name: 1.0 for name in every if name != "math-prm"})
    assert json.dumps(section_scores({})) == "{}"


def test_a_toy_judge_by_hand():
    """Of natural 1.5 of 2, of manual 1 of 4: Chat Hard (100 * 0.75 + 46 * 0.25) / 146."""
    subsets = {
        "llmbar-natural": [Pair("q", "yes", "maybe so"), Pair("q", "same", "long")],
        "llmbar-adver-manual": [Pair("q", "s", "long"), *[Pair("q", "long", "s")] * 3],
    }
    found = asyncio.run(measure(Judge(ask_shorter, RUBRIC), subsets))
    assert found.accuracy == {"llmbar-natural": 0.75, "llmbar-adver-manual": 0.25}
    assert found.report()["sections"] == {"Chat Hard": pytest.approx((100 * 0.75 + 46 * 0.25) / 146)}
    assert (found.unread, found.failed, "overall" in found.report()) == (1, {}, False)
    assert found == asyncio.run(measure(Judge(ask_shorter, RUBRIC, both_orders=False), subsets))


def test_position_bias_and_failures_are_half_a_point():
    async def first(messages):
        return '{"winner": "A"}'

    async def dead(messages):
        raise Trouble("question", "no connection")

    pairs = {"llmbar-natural": [Pair("q", "a", "b")] * 4}
    assert asyncio.run(measure(Judge(first, RUBRIC), pairs)).accuracy == {"llmbar-natural": 0.5}
    # In one order the chosen one is A as often as B.
    assert asyncio.run(measure(Judge(first, RUBRIC, both_orders=False), pairs)).accuracy == {"llmbar-natural": 0.5}
    found = asyncio.run(measure(Judge(dead, RUBRIC), pairs))
    assert found.accuracy == {"llmbar-natural": 0.5} and found.failed["llmbar-natural/3"] == "no connection"


def test_real_pairs_and_records_that_are_none(tmp_path):
    subsets = read_pairs(LLMBAR)
    assert set(subsets) == {name for name in SECTIONS["Chat Hard"] if name.startswith("llmbar-")}
    assert {len(pairs) for pairs in subsets.values()} == {3}
    record = json.loads((LLMBAR / "Natural" / "dataset.json").read_text())[0]
    better = record[f"output_{record['label']}"]
    assert subsets["llmbar-natural"][0][:2] == (record["input"], better)
    lines = tmp_path / "pairs.jsonl"
    good = {"subset": "hep-python", "prompt": "p", "chosen": "c", "rejected": "r"}
    lines.write_text(json.dumps(good) + "\n")
    assert read_pairs(lines) == {"hep-python": [("p", "c", "r")]}
    (tmp_path / "Natural").mkdir()
    (tmp_path / "Natural" / "dataset.json").write_text(json.dumps([record | {"label": 3}]))
    for text, path, why in (
        ('{"subset": "hep-python"}', lines, r"pairs.jsonl, line 1: .*'prompt'"),
        (json.dumps(good | {"subset": "hep-perl"}), lines, "hep-perl: no subset of RewardBench"),
        ("", tmp_path, "Natural/dataset.json: a list of records with input"),
        ("", tmp_path / "nowhere", "holds none of Natural/dataset.json"),
    ):
        lines.write_text(text)
        with pytest.raises(ValueError, match=why):
            read_pairs(path)


def test_a_judge_in_this_process_has_the_scores_of_a_served_one(tmp_path):
    lent = Lent(lambda chat: shorter(chat[-1]["content"]))

    async def run():
        connection = InProcessJudge(in_process(lent, read_settings(PAIRWISE, k=0, cache=str(tmp_path)), "an adapter"))
        found = await measure(connection.judge(), read_pairs(LLMBAR))
        await connection.close()
        return found

    found = asyncio.run(run())
    assert found == asyncio.run(measure(Judge(ask_shorter, RUBRIC), read_pairs(LLMBAR)))
    assert sorted(map(len, lent.asked)) == [6] * 5  # a subset at a time, each pair in both orders
    lent.asked.clear()
    assert asyncio.run(run()) == found and sum(map(len, lent.asked)) <= 2 * found.unread


@pytest.mark.parametrize("flags", [["--endpoint=http://x/v1"], ["--checkpoint=nano", "--requests_per_minute=9"]])
def test_flags_that_do_not_go_together(flags, tmp_path):
    command = [sys.executable, "launch/judge_bench.py", f"--pairs={LLMBAR}", f"--output={tmp_path}", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_the_command(tmp_path):
    """On the fifteen real pairs with the toy judge, twice: the second time nothing is asked."""
    asked = []

    async def chat(request):
        body = await request.json()
        asked.append(body)
        message = {"role": "assistant", "content": shorter(body["messages"][-1]["content"])}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse({"id": "i", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})

    expected = {
        name: sum((len(p.chosen) < len(p.rejected)) + 0.5 * (len(p.chosen) == len(p.rejected)) for p in pairs) / 3
        for name, pairs in read_pairs(LLMBAR).items()
    }
    with running(Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])) as url:
        command = [sys.executable, "launch/judge_bench.py", f"--endpoint={url}", "--model=m", f"--pairs={LLMBAR}",
                   f"--output={tmp_path}"]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        scores = json.loads((tmp_path / "scores.json").read_text())
        assert scores["subsets"] == pytest.approx(expected) and scores["failed"] == {}
        once = len(asked)
        assert once == 30 and len(asked[0]["messages"]) == 14
        again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert again.stdout == done.stdout and len(asked) - once <= 2 * scores["unread"]
