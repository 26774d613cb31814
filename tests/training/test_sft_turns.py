"""Conversations of several turns in supervised fine-tuning: what is the prompt, what is counted, and what it scores."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from rrft_jax.config.command_line import load_config
from rrft_jax.models.score import score
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.pretrained import ASSETS, load_for_inference, load_parts
from rrft_jax.processing.processor import encode_completion, encode_prompt
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.algorithms import get_algorithm
from rrft_jax.training.algorithms.sft import sft_batch
from rrft_jax.training.source import make_source
from rrft_jax.training.validate import check_config

ROOT = Path(__file__).parents[2]
SAID = [("system", "You count."), ("user", "<image>How many?"), ("assistant", "<think>a</think> 1"),
        ("user", "And red ones?"), ("assistant", "None at all.")]  # fmt: skip


@pytest.fixture(scope="module")
def parts():
    return load_parts(ASSETS / "nano", "float32")


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", (56, 56), "red").save(tmp_path / "a.png")
    turns = [{"role": role, "content": text} for role, text in SAID]
    later = [*turns[:3], {"role": "user", "content": "<image>And here?"}, turns[4]]
    rows = [{"id": "talk", "images": ["a.png"], "messages": turns},
            {"id": "later", "images": ["a.png", "a.png"], "messages": later},
            {"id": "one", "image": "a.png", "problem": "How many?", "cot": "One.", "answer": "1"}]  # fmt: skip
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def source_of(folder, parts, turns, held=0.0):
    config = load_config(f"{ROOT / 'configs' / 'cot_sft.py'}:counting,data={folder}")
    config.sft.turns, config.data.held_out, config.eval.examples = turns, held, 1 if held else 0
    config.train.prompts = 1
    check_config(config)
    task, algorithm, (_, processor) = get_task(config.task), get_algorithm(config.algorithm), parts
    check = algorithm.check_example(config, task, processor)
    return config, make_source(config, task, processor, trainable=check, asked=algorithm.prompt(config))


def batches(folder, parts, turns) -> dict:
    """id -> (host batch, batch) of one prompt each"""
    config, source = source_of(folder, parts, turns)
    hosts = [source.fetch(t) for t in range(source.records)]
    made = [sft_batch(config, get_task(config.task), parts[1], make_mesh(), host)[0] for host in hosts]
    return {host.examples[0].id: (host, batch) for host, batch in zip(hosts, made, strict=True)}


def test_all_answers_are_counted_or_the_last_and_what_the_user_says_is_read(folder, parts):
    processor = parts[1]
    found = {turns: batches(folder, parts, turns) for turns in ("all", "last")}
    (host, batch), (host_last, last) = found["all"]["talk"], found["last"]["talk"]
    opening = encode_prompt(processor, SAID[1][1], [folder / "a.png"], system=SAID[0][1])
    whole = encode_prompt(processor, SAID[3][1], [folder / "a.png"], system=SAID[0][1], history=SAID[1:3])
    for one, expected in ((host, opening), (host_last, whole)):
        tokens = one.prompts.tokens[0][one.prompts.token_mask[0]]
        assert tokens.tolist() == expected.tokens.tolist() and one.texts[0].startswith("[system] You count.\n[user] ")
    answers = [encode_completion(processor, SAID[k][1]).tolist() for k in (2, 4)]
    counted = [np.asarray(b.tokens)[np.asarray(b.targets.loss_mask)].tolist() for b in (batch, last)]
    assert counted == [answers[0] + answers[1], answers[1]]
    read = np.asarray(batch.tokens)[np.asarray(batch.token_mask)]
    assert [*opening.tokens, *read] == [*whole.tokens, *answers[1]]
    assert np.array_equal(last.token_mask, last.targets.loss_mask)


def test_an_answer_has_the_same_probability_wherever_the_prompt_ends(folder, parts):
    model = parts[0]
    params = load_for_inference(ASSETS / "nano", model.config, make_mesh(), jnp.dtype(jnp.float32))
    scored = jax.jit(lambda b: score(model, params, b.prompts, b.tokens, b.token_mask, None)[0])
    values = []
    for turns in ("all", "last"):
        _, batch = batches(folder, parts, turns)["talk"]
        values.append(np.asarray(scored(batch))[np.asarray(batch.targets.loss_mask)])
    np.testing.assert_allclose(values[0][-len(values[1]) :], values[1], atol=2e-4)
    assert np.isfinite(values[0]).all() and len(values[0]) > len(values[1])


def test_a_picture_behind_the_first_answer_is_for_the_last_alone(folder, parts):
    _, source = source_of(folder, parts, "all")
    assert source.records == 2
    assert "1 left out, no usable target: later" in source.report and "config.sft.turns=last" in source.report
    host, _ = batches(folder, parts, "last")["later"]
    assert host.prompts.patch_mask.any(-1).sum() == 2


def test_single_questions_are_asked_in_the_template_and_conversations_as_they_stand(folder, parts):
    found = batches(folder, parts, "all")
    assert "Output the thinking process" in found["one"][0].texts[0]
    assert "Output the thinking process" not in found["talk"][0].texts[0]


def test_held_out_conversations_are_asked_for_their_last_answer(folder, parts):
    """And trained on from their first question: the two have sizes of their own."""
    lines = (folder / "train.jsonl").read_text().splitlines()
    other = {"id": "text", "image": [], "messages": [{"role": r, "content": t.replace("<image>", "")} for r, t in SAID]}
    (folder / "train.jsonl").write_text(f"{lines[0]}\n{json.dumps(other)}\n")
    _, source = source_of(folder, parts, "all", held=0.5)
    (held,) = source.held_out["eval"]
    assert held.texts[0].endswith("[assistant] <think>a</think> 1\n[user] And red ones?")
    assert source.fetch(0).texts[0].endswith("How many?")
    assert {size.prompt_tokens for size in source.sizes} == {
        int(batch.prompts.token_mask[0].sum()) for batch in (held, source.fetch(0))
    }  # fmt: skip


def test_reinforcement_learning_asks_the_last_question_with_all_that_was_said(folder, parts):
    config = load_config(f"{ROOT / 'configs' / 'grpo_counting.py'}:data={folder}")
    config.data.held_out, config.train.prompts = 0.0, 1
    source = make_source(config, get_task(config.task), parts[1])
    texts = {source.fetch(t).examples[0].id: source.fetch(t).texts[0] for t in range(source.records)}
    assert texts["talk"].startswith("[system] You count.\n[user] <image>How many?\n[assistant] <think>a</think> 1\n")
    assert "[user] And red ones? Output the thinking process" in texts["talk"]


def test_turns_are_all_or_last():
    config = load_config(str(ROOT / "configs" / "cot_sft.py"))
    config.sft.turns = "first"
    with pytest.raises(ValueError, match="config.sft.turns='first': choose all or last"):
        check_config(config)
