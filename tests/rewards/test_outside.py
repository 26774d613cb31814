"""Rewards from a user's file: both signatures, async or not, options, and errors with the user's line."""

import asyncio
import logging
import time

import numpy as np
import pytest

from rrft_jax.rewards import RewardSet, Weighted, calling
from rrft_jax.rewards.chosen import chosen_rewards
from rrft_jax.rewards.outside import split_entry
from rrft_jax.rewards.values import SetupError
from tests.rewards.helpers import example

FILE = """
import asyncio
from dataclasses import replace
from functools import partial
from rrft_jax.rewards import from_trl

def short(completions, examples, group_ids, step, *, limit=3, count_tokens=None):
    return [float(n <= limit) for n in count_tokens(completions)]

def contains(completions, solution, *, bonus=0.0, **columns):
    return [float(s in c) + bonus for s, c in zip(solution, completions)]

async def judge(prompts, completions, **kwargs):
    await asyncio.sleep(0)
    return [0.25 for _ in completions]

def one_by_one(completions, examples, group_ids, step):
    async def ask(text):
        if text == "bad":
            raise KeyError("server")
        return 1.0
    return [ask(text) for text in completions]

def overlong(completion_ids, **kwargs):
    return [-float(len(ids)) for ids in completion_ids]

def fragile(completions, examples, group_ids, step):
    return [1 / (text != "bad") for text in completions]

def chat(completions, **kwargs):
    return [len(c[0]["content"]) for c in completions]

def wants_column(completions, ground_truth):
    return [0.0 for _ in completions]

def accuracy(completions, **kwargs):
    return [0.0 for _ in completions]

def half(completions, examples):
    return [0.0 for _ in completions]

def strange(texts, labels):
    return [0.0 for _ in texts]

def needs(completions, examples, group_ids, step, *, margin):
    return [0.0 for _ in completions]

def single(completions, **kwargs):
    return 1.0

def words(completions, **kwargs):
    return ["yes" for _ in completions]

class Judge:
    def __call__(self, completions, **kwargs):
        return [2.0 for _ in completions]

JUDGE = Judge()
OVERLONG = from_trl(overlong)
WORDY = replace(OVERLONG, tokenize=lambda texts: [text.split() for text in texts])
LONGER = partial(short, limit=8)
NUMBER = 3
"""
OTHER = "def judge(completions, **kwargs):\n    return [0.0 for _ in completions]\n"


def line(start):
    """The number of the first line of FILE that starts so."""
    return next(n for n, text in enumerate(FILE.splitlines(), 1) if text.strip().startswith(start))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("outside") / "mine.py"
    path.write_text(FILE)
    (path.parent / "other.py").write_text(OTHER)
    return str(path)


def rewards(file, *names, options=None, weights=(), **more):
    entries = [f"{file}:{name}" for name in names]
    return chosen_rewards(dict(weights), entries, options, tokenize=lambda texts: [list(t) for t in texts], **more)


def score(rewards, texts=("4", "no answer"), step=0):
    examples = [example(id=f"e{i}") for i in range(len(texts))]
    return rewards.score(list(texts), examples, [i // 2 for i in range(len(texts))], step)


def test_every_kind_of_function_gives_its_values_under_its_name(file):
    chosen = rewards(file, "short=0.5", "contains=2", "judge", "overlong=0.125", "JUDGE=0", weights={"format": 1.0})
    scored = score(chosen)
    assert scored.names == ("format", "short", "contains", "judge", "overlong", "JUDGE")
    np.testing.assert_array_equal(
        scored.values, [[0, 0], [1, 0], [1, 0], [0.25, 0.25], [-1, -9], [2, 2]]
    )  # fmt: skip
    np.testing.assert_array_equal(scored.total, [0.5 + 2 + 0.25 - 0.125, 0.25 - 9 / 8])
    assert not scored.failures


def test_options_reach_the_function_and_a_partial_carries_its_own(file):
    chosen = rewards(file, "contains", "LONGER", options={"contains": {"bonus": 0.5}, "LONGER": {"limit": 9}})
    np.testing.assert_array_equal(score(chosen).values, [[1.5, 0.5], [1, 1]])
    np.testing.assert_array_equal(score(rewards(file, "LONGER")).values, [[1, 0]])


def test_a_wrapped_function_keeps_its_tokenizer_or_gets_that_of_the_run(file):
    np.testing.assert_array_equal(score(rewards(file, "OVERLONG", "WORDY")).values, [[-1, -9], [-1, -2]])


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["nothing"], {}, "config.extra_rewards=.*has no nothing"),
        (["NUMBER"], {}, "a function is wanted, not int"),
        (["Judge"], {}, "a class: name an object of it"),
        (["half"], {}, rf"mine.py:{line('def half')}\) takes \(completions, examples\): a reward takes"),
        (["strange"], {}, r"takes \(texts, labels\): a reward takes"),
        (["needs"], {}, rf"mine.py:{line('def needs')}\): give margin a default"),
        (["accuracy"], {}, "mine.py:accuracy and the registered reward are both called accuracy"),
        (["judge=high"], {}, "gives no number as weight"),
        (["judge=nan"], {}, "gives no number as weight"),
        (["short"], {"short": {"limt": 3}}, "reward_options.short.limt=3: .* did you mean limit"),
        (["short"], {"short": {"limit": 3.5}}, "reward_options.short.limit=3.5 must be int, as its default 3"),
        (["short"], {"shirt": {"limit": 3}}, "reward_options.shirt: this run has no such reward; did you mean short"),
        (["short"], {"short": {"limit": 4}, "shirt": {"limit": 3}}, "shirt: this run has no such reward"),
        ([], {"length": {"warmup_steps": 4}}, "warmup_steps=4 changes nothing while config.rewards.length is 0"),
        ([], {"length": {"warmup_steps": True}}, "warmup_steps=True must be int"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_the_run(file, names, options, message):
    with pytest.raises(ValueError, match=message):
        rewards(file, *names, options=options, weights={"accuracy": 1.0})


def test_names_that_clash_are_both_named(file):
    other = file.replace("mine.py", "other.py")
    with pytest.raises(ValueError, match="other.py:judge and .*mine.py:judge are both called judge"):
        chosen_rewards({}, [f"{file}:judge", f"{other}:judge=0.5"], tokenize=list)
    with pytest.raises(ValueError, match="format is a registered reward: set config.rewards.format=0.5"):
        chosen_rewards({}, ["format=0.5"], tokenize=list)


def test_entries():
    assert split_entry("my.py:f=0.5") == ("my.py:f", 0.5)
    assert split_entry("a=b/my.py:f=-1e-2") == ("a=b/my.py:f", -0.01)
    assert split_entry("pkg.mod:f") == ("pkg.mod:f", 1.0)


def test_an_installed_package_registers_its_rewards_by_name(file, tmp_path, monkeypatch):
    (tmp_path / "judges_of_door.py").write_text(OTHER)
    info = tmp_path / "judges-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: judges\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rrft_jax.rewards]\nkind_judge = judges_of_door:judge\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert score(chosen_rewards({}, ["kind_judge=2"], tokenize=list)).names == ("judge",)
    with pytest.raises(ValueError, match="'kind_juge' is no reward; did you mean kind_judge"):
        chosen_rewards({}, ["kind_juge=2"], tokenize=list)


def test_an_error_costs_its_group_and_names_example_file_and_line(file, caplog):
    with caplog.at_level(logging.WARNING):
        scored = score(rewards(file, "fragile"), ["a", "b", "bad", "c"])
    np.testing.assert_array_equal(scored.total, [1, 1, np.nan, np.nan])
    assert "example e2: ZeroDivisionError: division by zero" in caplog.text
    assert f"mine.py:{line('return [1 /')})" in caplog.text and "(reward of" not in caplog.text


def test_a_coroutine_of_a_list_costs_its_completion_alone(file):
    scored = score(rewards(file, "one_by_one"), ["a", "b", "bad", "c"])
    np.testing.assert_array_equal(scored.total, [1, 1, np.nan, 1])
    assert scored.failures[0].example_id == "e2" and "KeyError: 'server' (" in scored.failures[0].reason
    assert f"mine.py:{line('raise KeyError')})" in scored.failures[0].reason


@pytest.mark.parametrize(
    ("name", "text", "message", "at"),
    [
        ("fragile", "bad", "fragile raised for all 2 .*first step.*example e0: ZeroDivisionError", "return [1 /"),
        ("one_by_one", "bad", "one_by_one raised for all 2 .*KeyError: 'server' ", "raise KeyError"),
        ("chat", "a", r"string indices.*name from_trl\(FUNCTION, conversational=True\)", "return [len(c[0]"),
        ("wants_column", "a", "wants the column ground_truth, and the records have id", "def wants_column"),
        ("words", "a", "TypeError: the reward is 'yes', which is no number", "def words"),
        ("single", "a", "must return a list with a number or None a completion, not float", "def single"),
    ],
)
def test_a_reward_that_raises_for_everything_stops_the_first_step(file, name, text, message, at):
    with pytest.raises(SetupError, match=message) as caught:
        score(rewards(file, name), [text, text])
    assert f"mine.py:{line(at)})" in str(caught.value)
    if name in ("fragile", "one_by_one"):  # later it may be a server that is away for a while
        assert len(score(rewards(file, name), [text, text], step=1).failures) == 2


def test_coroutines_wait_together_and_while_others_compute():
    running = []

    def waits(name):
        async def reward(completions, examples, group_ids, step):
            running.append(name)
            while len(set(running)) < 3:  # every one needs all three to have started
                await asyncio.sleep(0.001)
            return [1.0] * len(completions)

        return Weighted(name, reward)

    def computes(completions, examples, group_ids, step):
        deadline = time.monotonic() + 20
        while len(running) < 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        running.append("computes")
        return [float(len(running))] * len(completions)

    chosen = RewardSet((Weighted("computes", computes), waits("a"), waits("b")))
    assert score(chosen).values.tolist() == [[3.0, 3.0], [1.0, 1.0], [1.0, 1.0]]


def test_one_event_loop_serves_all_calls():
    loops = []

    async def reward(completions, examples, group_ids, step):
        loops.append(asyncio.get_running_loop())
        return [0.0] * len(completions)

    chosen = RewardSet((Weighted("mine", reward),))
    score(chosen), score(chosen.only("mine"))
    assert loops[0] is loops[1] and not loops[0].is_closed()


def test_registered_rewards_do_not_go_through_the_event_loop():
    assert not calling.is_async(chosen_rewards({"accuracy": 1.0}, tokenize=list).rewards[0].reward)
