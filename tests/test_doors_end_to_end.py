"""Code from outside the package, through the real programs: a toy of each kind, and examples/my_task as it stands."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rrft_jax.config.command_line import add_rewards, load_config
from rrft_jax.data.example import Example
from rrft_jax.data.folder import read_folder
from rrft_jax.run.metrics import read_metrics
from rrft_jax.tasks import Prediction
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.rewarding import make_rewards
from rrft_jax.training.validate import check_config
from tests.training import runs

TOYS = '''
import dataclasses

import jax.numpy as jnp
from PIL import Image

from rrft_jax.data.example import Example
from rrft_jax.tasks import Column, HeldOut, Task
from rrft_jax.training.algorithms.grpo import GRPO

COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200)}


def make(seed, index, split, domain):
    name = list(COLOURS)[index % 2]
    picture = Image.new("RGB", (112, 112), COLOURS[name])
    number = f"{domain}-{split}-{seed}-{index}"
    return Example(number, "colours", "Which colour?", name, (picture,), metadata={"hue": name})


def words(predictions):
    return {"words": sum(len(texts[0].split()) for _, texts in predictions) / len(predictions)}


TASK = Task(
    name="colours", templates={"ASK": "{Question}"}, prompts={"cot": "ASK", "zero_shot": "ASK"}, make=make,
    summarise=words, held_out={"eval": HeldOut("in", "plain colours")},
    benchmarks=(Column(name="colours", title="Colours"),),
)


async def brief(prompts, completions, hue, bonus=0.0, **kwargs):
    """As written for TRL: `hue` is a column of the data set."""
    assert set(hue) <= set(COLOURS) and set(prompts) == {"Which colour?"}
    return [bonus + 1 / (1 + len(text)) for text in completions]


def above_median(rewards, row_weight, *, step=1.0):
    middle = jnp.nanmedian(rewards, -1, keepdims=True)
    advantages = jnp.where((row_weight > 0) & jnp.isfinite(rewards), step * jnp.sign(rewards - middle), 0.0)
    return advantages, {"advantage_share": jnp.mean(jnp.abs(advantages) / step)}


def reinforce(ratio, log_probs, advantages):
    return -advantages * log_probs


ALGORITHM = dataclasses.replace(GRPO, name="toy")
'''


@pytest.fixture(scope="module")
def launcher():
    return runs.Launcher(Path(os.environ["JAX_COMPILATION_CACHE_DIR"]))


@pytest.fixture
def toys(tmp_path):
    """Flags that put every toy of a file in a temporary folder into a run."""
    file = tmp_path / "toys.py"
    file.write_text(TOYS)
    fields = {"task": file, "algorithm": f"{file}:ALGORITHM", "advantages.estimator": f"{file}:above_median",
              "loss.surrogate": f"{file}:reinforce", "train.steps": 2, "loss.beta": 0.0}  # fmt: skip
    return [*(f"--config.{name}={value}" for name, value in fields.items()), "--reward", f"{file}:brief=0.5"]


@pytest.mark.slow
def test_a_toy_of_each_kind_is_trained_stopped_resumed_evaluated_and_reported(launcher, toys, tmp_path):
    flags = [*runs.TINY, *toys, "--config.checkpoint.every=1"]
    said = launcher.run(tmp_path / "run", *flags)
    assert "toy from nano" in said and "plain colours: words" in said
    before, first, last = read_metrics(tmp_path / "run")
    assert before["eval/words"] >= 0 and last["eval/words"] >= 0
    for record in (first, last):
        parts = record["rewards/accuracy/mean"] + record["rewards/format/mean"] + 0.5 * record["rewards/brief/mean"]
        assert record["reward"] == pytest.approx(parts) and record["rewards/brief/mean"] > 0
        assert 0 <= record["advantage_share"] <= 1 and record["reward_error"] == 0
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["extra_rewards"] == [f"{tmp_path}/toys.py:brief=0.5"]

    process = launcher.start(tmp_path / "stopped", *flags)
    stopped = runs.stop_when(process, lambda: runs.steps_written(tmp_path / "stopped") == 1, signal.SIGTERM)
    assert stopped == 0 and not (tmp_path / "stopped" / "DONE").exists()
    launcher.run(tmp_path / "stopped", *flags)
    runs.assert_same_result(tmp_path / "stopped", tmp_path / "run")

    table = evaluated(launcher, tmp_path / "run", f"{tmp_path}/toys.py", "--limit=4")
    assert "colours" in table and "words" in table


@pytest.mark.slow
def test_the_example_is_drawn_trained_evaluated_and_reported(launcher, example, tmp_path):
    tiny = [*runs.TINY, "--config.train.steps=2", "--config.rollout.group=2", "--config.eval.every=2"]
    said = launcher.run(tmp_path / "run", *tiny, config=f"{example}/config.py")
    assert "14 records read" in said and "of 14 records held out" in said
    assert "mean_error" in said and "unread" in said
    last = list(read_metrics(tmp_path / "run"))[-1]
    assert 0 <= last["rewards/close/mean"] <= 1 and last["reward_error"] == 0
    table = evaluated(launcher, tmp_path / "run", f"{example}/task.py", f"--data_dir={example}/data")
    assert "mean_error" in table and "unread" in table


@pytest.fixture
def example(tmp_path):
    """examples/my_task in a temporary folder, with its pictures."""
    folder = tmp_path / "my_task"
    shutil.copytree(runs.ROOT / "examples" / "my_task", folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    subprocess.run([sys.executable, "draw.py"], cwd=folder, check=True)
    return folder


def evaluated(launcher, workdir: Path, benchmark: str, *flags: str) -> str:
    """The table of launch/evaluate.py on a finished run."""
    command = [sys.executable, "launch/evaluate.py", f"--checkpoint={workdir}", f"--benchmark={benchmark}", *flags]
    options = ["--decoding=greedy", "--max_new_tokens=16", "--batch=4", f"--output={workdir}/test"]
    env = launcher.environment()
    done = subprocess.run([*command, *options], cwd=runs.ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_example_says_what_it_claims(example):
    """Its records, reward and metrics by hand, and a config that passes the checks."""
    config = load_config(f"{example}/config.py")
    check_config(config)
    task = get_task(config.task)
    train, test = (read_folder(example / "data", task.name, split).examples for split in ("", "test"))
    assert (len(train), len(test)) == (14, 6)
    assert all(task.record(each).answer.isdecimal() and each.images for each in (*train, *test))
    two = next(each for each in train if each.answer == "2")
    texts = ["<answer>2</answer>", "3", "4", "none"]
    predictions = [Prediction(two, (text,)) for text in texts]
    assert task.set_metrics(predictions) == {"mean_error": 1.0, "unread": 0.25}
    rewards = make_rewards(config, task, tokenizer=list).only("close")
    scored = rewards.score(texts, [two] * 4, [0] * 4, 0)
    assert scored.values[0].tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0])


def test_everything_of_the_toys_passes_the_checks_together(toys):
    config = load_config(f"{runs.ROOT}/configs/grpo_counting.py")
    fields = dict(flag.removeprefix("--config.").split("=", 1) for flag in toys if flag.startswith("--config."))
    numbers = {"train.steps": int, "loss.beta": float}
    config.update_from_flattened_dict({name: numbers.get(name, str)(value) for name, value in fields.items()})
    add_rewards(config, toys[-1:])
    config.reward_options.brief = {"bonus": 0.5}
    check_config(config)
    config.reward_options.brief = {"bonus": "much"}
    with pytest.raises(ValueError, match="config.reward_options.brief.bonus='much' must be float"):
        check_config(config)


def test_the_functions_on_the_page_about_extending_pass_the_checks(tmp_path):
    page = (runs.ROOT / "docs" / "extending.md").read_text()
    file = tmp_path / "page.py"
    file.write_text("import jax.numpy as jnp\n" + "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)))
    config = load_config(f"{runs.ROOT}/configs/grpo_counting.py")
    add_rewards(config, [f"{file}:short_answer=0.5", "length=0.1"])
    config.reward_options.short_answer = {"limit": 30}
    config.advantages.estimator, config.loss.surrogate = f"{file}:above_median", f"{file}:reinforce"
    config.advantages.step = 2.0
    check_config(config)
    rewards = make_rewards(config, get_task("counting"), tokenizer=list).only("short_answer")
    example = Example("e", "visual_counting", "?", "4")
    assert rewards.score(["x" * 30, "x" * 31], [example] * 2, [0, 0], 0).values.tolist() == [[1.0, 0.0]]
