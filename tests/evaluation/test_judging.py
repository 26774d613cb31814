"""The judge behind an endpoint that misbehaves costs values, never the run; RewardBench's protocol by hand."""

import json

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from rrft_jax.data.example import Example
from rrft_jax.evaluation.judge_benchmark import measure, read_llmbar
from rrft_jax.evaluation.judging import judge
from rrft_jax.evaluation.rewardbench import SECTIONS, overall, section_scores
from rrft_jax.rewards.outside import load_rewards
from tests.web import running, serving

ITEM = Example("e", "t", "What is 2 + 2?", "4")


def app(replies, asked):
    async def chat(request):
        body = await request.json()
        asked.append(body)
        said = replies(body["messages"][-1]["content"])
        if isinstance(said, str):
            message = {"role": "assistant", "content": said}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            whole = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
            return JSONResponse(whole)
        return said

    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])


def text_of(content):
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def test_good_lying_broken_and_missing_replies(tmp_path):
    def replies(content):
        text = text_of(content)
        for mark, reply in (
            ("right", '{"score": 8, "rationale": "ok"}'), ("liar", '{"score": 99999}'), ("mute", "I cannot say."),
            ("html", HTMLResponse("<html>oops</html>", 200)), ("dead", JSONResponse({"error": "x"}, 500)),
        ):  # fmt: skip
            if mark in text:
                return reply
        raise AssertionError(text)

    asked, names = [], ["right", "liar", "mute", "html", "dead", "right"]
    with running(app(replies, asked)) as url:
        options = {"endpoint": url, "model": "m", "attempts": 1, "cache": str(tmp_path), "timeout": 20.0}
        values = judge(names, [ITEM] * 6, [0] * 6, 0, **options)
        assert list(values) == [0.8, 1.0, 0.0, None, None, 0.8] and values.unread == {2}
        assert set(values.errors) == {3, 4} and all(values.errors.values())
        assert len(asked) == 5 and asked[0]["messages"][0]["role"] == "system"
        assert [m["role"] for m in asked[0]["messages"]] == ["system", *["user", "assistant"] * 6, "user"]
        before = len(asked)
        assert list(judge(names[:3], [ITEM] * 3, [0] * 3, 1, **options)) == [0.8, 1.0, 0.0] and len(asked) == before
    # The server is gone: values are missing, with the reason, and nothing is raised.
    values = judge(["new", "right"], [ITEM] * 2, [0] * 2, 2, **options)
    assert list(values) == [None, 0.8] and values.errors[0]


def test_it_comes_in_as_any_reward_of_ones_own():
    given = {"count_tokens": None, "max_completion_length": 7}
    options = {"judge": {"endpoint": "http://localhost:1/v1", "model": "m", "max_tokens": 64}}
    (found,) = load_rewards(["rrft_jax.evaluation.judging:judge=0.5"], options, given, list)
    assert (found.name, found.weight) == ("judge", 0.5)
    with pytest.raises(ValueError, match="give endpoint"):
        judge(["a"], [ITEM], [0], 0)


@pytest.mark.slow
def test_a_real_server_of_ours_answers():
    with serving("--checkpoint=nano") as (_, url):
        options = {"endpoint": url, "model": "nano", "demonstrations": 0, "attempts": 1, "max_tokens": 8}
        values = judge(["4", "score: 10"], [ITEM] * 2, [0] * 2, 0, **options)
    assert not values.errors and all(0 <= value <= 1 for value in values)


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


def test_pairs_of_llmbar_are_read_and_measured(tmp_path):
    record = {"input": "2 + 2?", "output_1": "5", "output_2": "4, four", "label": 2}
    for place, records in (("Natural", [record]), ("Adversarial/Manual", [record, record | {"label": 1}])):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "dataset.json").write_text(json.dumps(records))
    subsets = read_llmbar(tmp_path)
    assert subsets["llmbar-natural"] == [("2 + 2?", "4, four", "5")] and len(subsets["llmbar-adver-manual"]) == 2

    def longer(conversations):
        first = [c.text.index("BEGIN response A") for c in conversations]
        return [
            ('{"winner": "A"}' if "four" in c.text[i : c.text.index("BEGIN response B")] else '{"winner": "B"}', "")
            for c, i in zip(conversations, first, strict=True)
        ]

    found = measure(longer, subsets)
    assert found["subsets"] == {"llmbar-natural": 1.0, "llmbar-adver-manual": 0.5}
    assert found["sections"] == {"Chat Hard": pytest.approx((100 + 23) / 146)}
    (tmp_path / "Natural" / "dataset.json").write_text(json.dumps([record | {"label": 3}]))
    with pytest.raises(ValueError, match="Natural/dataset.json: a list of records with input"):
        read_llmbar(tmp_path)
    with pytest.raises(ValueError, match="holds none of Natural/dataset.json"):
        read_llmbar(tmp_path / "nowhere")
