import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest

from rrft_jax import rewards
from rrft_jax.rewards import RewardSet, Values, Weighted, from_trl, reward_set
from rrft_jax.rewards.combine import weighted_total
from rrft_jax.rewards.values import SetupError
from tests.rewards.helpers import char_lengths, example, tagged


def constant(*values):
    return lambda completions, examples, group_ids, step: list(values)


def run(*items, texts=("a", "b"), group_ids=(0, 1)):
    examples = [example(id=f"e{i}") for i in range(len(texts))]
    return RewardSet(tuple(items)).score(list(texts), examples, list(group_ids), 0)


def test_none_is_left_out_of_the_weighted_sum():
    scored = run(
        Weighted("a", constant(1.0, None, None), 1.0),
        Weighted("b", constant(0.5, 0.25, None), -2.0),
        texts="xyz",
        group_ids=(0, 0, 0),
    )
    np.testing.assert_array_equal(scored.values, [[1.0, np.nan, np.nan], [0.5, 0.25, np.nan]])
    np.testing.assert_array_equal(scored.total, [0.0, -0.5, np.nan])
    assert not scored.failures and not scored.unscored  # a plain None means "does not apply"


def test_combine_is_a_sum_over_functions():
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=(3, 5)), rng.normal(size=3)
    np.testing.assert_allclose(weighted_total(values, weights), weights @ values, rtol=1e-12)


def test_a_reward_that_raises_costs_its_group_alone_and_is_logged(caplog):
    def picky(completions, examples, group_ids, step):
        if "bad" in completions:
            raise KeyError("colour")
        return [1.0] * len(completions)

    with caplog.at_level(logging.WARNING):
        scored = run(Weighted("picky", picky), texts=("a", "bad", "c", "d"), group_ids=(0, 1, 0, 1))
    np.testing.assert_array_equal(scored.total, [1.0, np.nan, 1.0, np.nan])
    assert scored.unscored == (1, 3)
    assert [(f.position, f.example_id, f.text) for f in scored.failures] == [(1, "e1", "bad"), (3, "e3", "d")]
    assert "KeyError" in scored.failures[0].reason
    assert "picky" in caplog.text and "'bad'" in caplog.text and "e1" in caplog.text


@pytest.mark.parametrize(("failing", "said"), [(3, ""), (4, "4 reward values missing among 5 completions")])
def test_three_failures_are_told_and_more_are_counted(caplog, failing, said):
    with caplog.at_level(logging.WARNING):
        run(Weighted("odd", constant(*[np.inf] * failing, *[1.0] * (5 - failing))), texts="abcde", group_ids=(0,) * 5)
    assert caplog.text.count("gave no value") == 3 and said in caplog.text
    assert ("missing among" in caplog.text) == bool(said)


@pytest.mark.parametrize("waits", [False, True])
def test_each_group_is_told_its_own_error(waits):
    async def ask(text):
        raise KeyError(text)

    def reward(completions, examples, group_ids, step):
        if waits:
            return [ask(text) for text in completions]
        raise KeyError(completions[0])

    rewards = RewardSet((Weighted("broken", reward),))
    given = ["a", "b"], [example(), example(id="e1")], [0, 1]
    reasons = [failure.reason.partition(" (")[0] for failure in rewards.score(*given, 1).failures]
    assert reasons == ["KeyError: 'a'", "KeyError: 'b'"]
    with pytest.raises(SetupError, match="For example e0: KeyError: 'a'"):
        rewards.score(*given, 0)


def test_values_that_are_not_finite_are_failures():
    scored = run(Weighted("odd", constant(float("nan"), float("inf"))), Weighted("ok", constant(1.0, 2.0)))
    assert scored.total.tolist() == [1.0, 2.0]
    assert [f.reward for f in scored.failures] == ["odd", "odd"] and scored.unscored == (0, 1)


def test_a_reward_of_weight_0_is_logged_and_changes_nothing():
    scored = run(Weighted("odd", constant(float("nan"), 5.0), 0.0), Weighted("ok", constant(1.0, 2.0)))
    assert scored.total.tolist() == [1.0, 2.0] and scored.unscored == () and len(scored.failures) == 1
    only_logged = run(Weighted("odd", constant(3.0, 5.0), 0.0), Weighted("none", constant(None, 2.0)))
    np.testing.assert_array_equal(only_logged.total, [np.nan, 2.0])
    assert run(Weighted("a", constant(3.0, 5.0), 0.0)).total.tolist() == [0.0, 0.0]


def test_reasons_that_a_reward_gives_reach_the_failures():
    scored = run(Weighted("some", lambda *_: Values([None, 1.0], {0: "TimeoutError: slow"})))
    assert [f.reason for f in scored.failures] == ["TimeoutError: slow"]


def test_contract_violations_stop_the_run():
    with pytest.raises(SetupError, match="short gave 1 values for 2"):
        run(Weighted("short", constant(1.0)))
    with pytest.raises(ValueError, match="group_ids': 1"):
        run(Weighted("a", constant(1.0, 1.0)), group_ids=(0,))
    for items, said in [
        ((), "no rewards"),
        ((Weighted("a", constant()), Weighted("a", constant())), "differ"),
        ((Weighted("a", constant(), float("nan")),), "finite"),
    ]:
        with pytest.raises(ValueError, match=said):
            RewardSet(items)


def test_names_and_options_are_checked_with_near_ones():
    with pytest.raises(ValueError, match="unknown reward 'acuracy'; did you mean accuracy"):
        rewards.get("acuracy")
    with pytest.raises(ValueError, match="known: accuracy, accuracy_paper"):
        rewards.get("zzz")
    with pytest.raises(ValueError, match="no option 'warmup'; did you mean warmup_steps"):
        rewards.get("length", count_tokens=char_lengths, warmup=3)
    with pytest.raises(ValueError, match="length needs the option count_tokens"):
        reward_set({"length": 1.0})
    with pytest.raises(ValueError, match="not used.*length"):
        reward_set({"accuracy": 1.0}, options={"length": {}})
    assert rewards.get("format")([tagged("4")], [example()], [0], 0) == [1.0]


def test_options_reach_the_reward():
    chosen = reward_set({"accuracy": 1.0, "length": 0.5}, options={"length": {"count_tokens": char_lengths}})
    scored = chosen.score([tagged("4"), tagged("4", "xx")], [example()] * 2, [0, 0], 0)
    assert scored.names == ("accuracy", "length")
    assert scored.total.tolist() == [1.25, 0.75]


def trl_accuracy(prompts, completions, solution, **kwargs):
    return [float(s in c) for s, c in zip(solution, completions, strict=True)]


def test_trl_functions_receive_their_columns():
    seen = {}

    def function(**arguments):
        seen.update(arguments)
        return [1, None]

    examples = [
        example("4", cot="c", metadata={"question_type": "count", "answer": "ignored"}),
        example("5", id="e1"),
    ]
    values = from_trl(function)(["x", "y"], examples, [0, 0], 12)
    assert values == [1.0, None]
    assert seen["prompts"] == ["How many?"] * 2 and seen["completions"] == ["x", "y"]
    assert seen["solution"] == seen["answer"] == ["4", "5"]
    assert seen["question_type"] == ["count", None]
    assert seen["id"] == ["e0", "e1"] and seen["cot"] == ["c", None] and seen["images"] == [[], []]
    assert seen["trainer_state"].global_step == 12


def test_trl_functions_of_every_shape():
    def conversational(prompts, completions):
        assert prompts[0] == [{"role": "user", "content": "How many?"}]
        return [float(c[0]["content"] == "4" and c[0]["role"] == "assistant") for c in completions]

    def fragile(completions, **kwargs):
        return [1.0 / len(c) for c in completions]

    scored = run(
        Weighted("plain", from_trl(trl_accuracy)),
        Weighted("chat", from_trl(conversational, conversational=True)),
        Weighted("fragile", from_trl(fragile, per_item=True)),
        texts=("4", ""),
        group_ids=(0, 0),
    )
    np.testing.assert_array_equal(scored.values, [[1.0, 0.0], [1.0, 0.0], [1.0, np.nan]])
    assert [failure.reward for failure in scored.failures] == ["fragile"]
    assert "ZeroDivisionError" in scored.failures[0].reason


def test_trl_functions_that_wait_and_errors_of_their_own():
    async def waits(completions, **columns):
        return [len(completions[0])]

    def raises(completions, **columns):
        raise TypeError("no such thing")

    scored = run(Weighted("waits", from_trl(waits, per_item=True)), texts=("a", "bcd"))
    assert scored.values.tolist() == [[1, 3]] and not scored.failures
    with pytest.raises(TypeError, match="^no such thing$"):  # which messages would not help
        from_trl(raises)(["4"], [example()], [0], 0)


def test_token_ids_are_wanted_in_vain_without_a_tokenizer():
    with pytest.raises(TypeError, match="wants the column completion_ids"):
        from_trl(lambda completion_ids, **columns: [0.0])(["4"], [example()], [0], 0)


def test_simple_counting_answers_never_reach_the_symbolic_check():
    verify = lambda checks: pytest.fail(f"asked to verify {checks}")  # noqa: E731
    chosen = reward_set({"accuracy": 1.0, "format": 1.0}, options={"accuracy": {"verify": verify}})
    cot = "I see 3 red cubes and 4 blue spheres. Removing 3 leaves 4. " * 4
    texts = [tagged(str(i % 9), thought=cot) if i % 2 else str(i % 9) for i in range(256)]
    examples = [example(id=f"e{i}") for i in range(256)]
    scored = chosen.score(texts, examples, [i // 8 for i in range(256)], 0)
    assert scored.values[0].tolist() == [float(i % 9 == 4) for i in range(256)]


def test_the_package_needs_neither_jax_nor_transformers():
    code = (
        "import sys, json, rrft_jax.rewards\n"
        "heavy = ['jax', 'transformers', 'torch', 'tensorflow', 'grain', 'PIL', 'sympy', 'math_verify']\n"
        "print(json.dumps([m for m in heavy if m in sys.modules]))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p or "." for p in sys.path)}
    assert (
        json.loads(subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout) == []
    )
