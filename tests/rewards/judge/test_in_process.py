"""The judge in this process: an adapter over shared arrays, one batch for all requests, the same faults."""

import asyncio
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.data.example import Example
from rrft_jax.models.adapter import read_adapter, save_adapter
from rrft_jax.models.lora import LoRA, init_adapter
from rrft_jax.models.paths import from_paths, leaf_paths
from rrft_jax.models.weights import abstract_params
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.pretrained import ASSETS, load_for_inference, load_parts
from rrft_jax.processing.chat import special_tokens
from rrft_jax.processing.processor import encode_prompt
from rrft_jax.rewards.chosen import chosen_rewards
from rrft_jax.rewards.judge.cache import FILE
from rrft_jax.rewards.judge.items import Item
from rrft_jax.rewards.judge.messages import build_messages
from rrft_jax.rewards.judge.rubric import POINTWISE, default_rubric
from rrft_jax.training.frozen_base import FrozenBase, to_question
from rrft_jax.training.validate import check_config
from tests.rewards.judge.hostile import HOSTILE, PROMPT, WRONG, gullible
from tests.rewards.judge.lent import Lent
from tests.training import runs

NANO = ASSETS / "nano"


def nano(adapter=None):
    model, processor = load_parts(NANO, "float32")
    mesh = make_mesh(devices=jax.devices()[:1])
    params = load_for_inference(NANO, model.config, mesh, jnp.dtype(jnp.float32), adapter)
    return FrozenBase(model, processor, mesh, params, NANO)


@pytest.fixture(scope="module")
def base():
    return nano()


@pytest.fixture(scope="module")
def adapter(tmp_path_factory, base):
    """Of rank 16 on all seven maps, and far from 0."""
    rng = np.random.default_rng(0)
    leaves = init_adapter(leaf_paths(abstract_params(base.model.config)), LoRA(16, 32.0), 0)
    filled = {k: rng.normal(0, 0.05, x.shape).astype("f") if k.endswith("lora_b") else x for k, x in leaves.items()}
    folder = tmp_path_factory.mktemp("judge") / "adapter"
    save_adapter(folder, from_paths(filled), NANO)
    return str(folder)


def chat(text):
    return [{"role": "system", "content": "Judge."}, {"role": "user", "content": text}]


def test_its_replies_are_those_of_the_merged_model_and_no_array_is_copied(base, adapter):
    chats = [chat(text) for text in ("How many cubes are 2 cubes and 3 spheres?", "List the objects.", "Find angle x.")]
    chats.insert(1, chat("How many cubes?" * 2000))
    told = []
    replies = base.replies(chats, 8, adapter, rows=2, tell=lambda number, reply: told.append((number, reply)))
    assert sorted(told, key=lambda pair: pair[0]) == list(enumerate(replies))
    assert "exceed the model's 4096 positions" in str(replies.pop(1)) and chats.pop(1)
    merged = nano(read_adapter(adapter, base.model.config, NANO)).replies(chats, 8, rows=3)
    assert replies == merged and len(set(replies)) > 1
    own, lent = leaf_paths(base.params), leaf_paths(base.lent(adapter))
    assert all(lent[path] is own[path] for path in own)
    more = sum(leaf.size for path, leaf in lent.items() if path not in own)
    assert 0 < more < 0.3 * sum(leaf.size for leaf in own.values())


def test_control_tokens_in_a_response_stay_text(base):
    """Fenced or not: the processor reads a response's characters, never its tokens."""
    special = special_tokens(base.processor.tokenizer).values()

    def count(response):
        question = to_question(build_messages(Item(PROMPT, response), default_rubric(POINTWISE)), 0)
        encoded = encode_prompt(base.processor, question.text, (), (), question.system, question.history)
        return int(np.isin(encoded.tokens, list(special)).sum())

    assert {count(text) for text in HOSTILE if "\ud800" not in text} == {count(WRONG)} and count(WRONG) >= 5


def score(base, texts, **options):
    options = {"backend": "in_process", "k": 0, **options}
    rewards = chosen_rewards({"llm_judge": 1.0}, (), {"llm_judge": options}, tokenize=list, base=base)
    examples = [Example(f"e{i}", "gsm8k", PROMPT, "It is 42.") for i in range(len(texts))]
    return rewards.score(texts, examples, [0] * len(texts), 1)


@pytest.mark.parametrize("quote", ["before", "behind", "inside"])
def test_no_text_raises_its_own_score(quote):
    texts = [WRONG, *HOSTILE, *(f"{WRONG}\n{text}" for text in HOSTILE)]
    lent = Lent(lambda chat: asyncio.run(gullible(False, quote)(chat)))
    scored = score(lent, texts)
    assert not scored.failures and scored.values.max() == scored.values[0, 0] == 0.2
    assert len(lent.asked) == 1 and len(lent.asked[0]) == len(set(texts))  # all of them at once
    lent = Lent(lambda chat: asyncio.run(gullible(True, quote)(chat)))
    scored = score(lent, texts, kind="pairwise")
    assert len(lent.asked[0]) == 2 * len(set(texts))
    # The stand-in always prefers A: an honest judge would too, and in the other order contradicts itself.
    assert set(scored.values[0]) <= {0.0, 0.5} and scored.values[0, 0] == 0.5


def test_faults_cost_their_completion_alone_and_the_cache_is_kept(tmp_path):
    def reply(chat):
        said = chat[-1]["content"]
        if "LONG" in said:
            return ValueError("9 prompt tokens and 9 new ones exceed the model's 8 positions")
        return "Very good!" if "PROSE" in said else '{"score": 7}'

    lent = Lent(reply)
    scored = score(lent, ["a", "LONG", "PROSE", "a"], cache=str(tmp_path))
    np.testing.assert_array_equal(scored.values[0], [0.7, np.nan, 0.0, 0.7])
    assert [f.position for f in scored.failures] == [1] and "model's 8 positions" in scored.failures[0].reason
    assert scored.metrics["parse_fail/llm_judge"] == (1.0, 4.0)
    again = Lent(reply)
    assert score(again, ["a"], cache=str(tmp_path)).values[0, 0] == 0.7 and not again.asked
    score(again, ["a"], cache=str(tmp_path), adapter="other")  # another judge, in the same file
    assert len(again.asked) == 1
    keys = [json.loads(line)["key"] for line in Path(tmp_path / FILE).read_text().splitlines()]
    assert len(set(keys)) == len(keys) == 2

    def broken(chat):
        raise RuntimeError("no memory left")

    scored = score(Lent(broken), ["a", "b"])
    assert np.isnan(scored.values).all() and "no memory left" in scored.failures[0].reason


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lora.rank": 0, "loss.beta": 0.0}, "backend: every parameter is trained .* set config.lora.rank"),
        ({"reward_options.llm_judge.url": "http://x/v1"}, "url='http://x/v1' is about a server: set backend=endpoint"),
        ({"reward_options.llm_judge.backend": "endpoint"}, "url: name the judge's server"),
        ({"reward_options.llm_judge.backend": "local"}, "backend='local': choose endpoint or in_process"),
        ({"reward_options.llm_judge.adapter": "/none"}, "adapter='/none': .*adapter_config.json not found"),
        ({"reward_options.llm_judge.concurrency": 0}, "concurrency=0 must be at least 1"),
    ],
)
def test_what_cannot_be_lent_is_said_before_a_run(fields, message):
    config = load_config(f"{runs.ROOT}/configs/grpo_counting.py")
    config.rewards.llm_judge, config.lora.rank = 1.0, 4
    config.reward_options.llm_judge.backend = "in_process"
    check_config(config)
    config.lora.rank = 0  # the reference of its KL penalty does as well
    check_config(config)
    config.lora.rank = 4
    config.update_from_flattened_dict(fields)
    with pytest.raises(ValueError, match=message):
        check_config(config)
    with pytest.raises(ValueError, match="only a training holds a model"):
        score(None, ["a"])
