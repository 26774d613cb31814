"""Real runs of nano that go wrong on purpose: the log and the report say what it is, once."""

import json

import pytest
from PIL import Image

from rrft_jax.report.page import collect

pytestmark = pytest.mark.slow
REWARD = '''
def broken(completions, examples, group_ids, step):
    if step >= 2:
        raise RuntimeError("the judge is down")
    return [1.0] * len(completions)
'''
WRONG = '''
def wrong(completions, examples, group_ids, step):
    return [float(example.answer not in text) for text, example in zip(completions, examples)]
'''
SMALL = (
    "--config.train.prompts=2", "--config.train.micro_batches=1", "--config.rollout.group=4",
    "--config.eval.examples=4", "--config.eval.batch=4", "--config.checkpoint.every=100",
    "--config.log.completions_every=100",
)  # fmt: skip


def said(output, workdir):
    """The steps of what the log warned of, which the report has too: {words of the finding: step}."""
    lines = [line for line in output.splitlines() if "] warning: " in line]
    warnings = collect([workdir])["warnings"]
    assert all(any(line.partition("warning: ")[2] in warning for warning in warnings) for line in lines)
    return lines


def test_cut_off_completions_that_are_all_alike(launcher, tmp_path):
    workdir = tmp_path / "cut"
    options = "--config.rollout.max_completion_length=1", "--config.rollout.temperature=0.0005", "--config.prompt=cot"
    output = launcher.run(workdir, *SMALL, *options, "--config.train.steps=16")
    lines = said(output, workdir)
    for words in ("were cut off", "equal another of their group", "all rewards are equal", "the entropy is",
                  "the format reward has been 0.000"):  # fmt: skip
        assert sum(words in line for line in lines) == 1, (words, lines)


def blank_records(folder):
    """Records whose pictures, files of their own, are all alike."""
    folder.mkdir()
    lines = []
    for k in range(24):
        Image.new("RGB", (84, 84), "gray").save(folder / f"{k}.png")
        lines.append(json.dumps({"id": k, "image": f"{k}.png", "problem": "How many objects are there?", "answer": 4}))
    (folder / "train.jsonl").write_text("\n".join(lines))
    return folder


def test_a_rate_too_high_and_a_reward_that_fails_and_pictures_all_alike(launcher, tmp_path):
    (tmp_path / "mine.py").write_text(REWARD)
    workdir = tmp_path / "wild"
    options = "--config.optimizer.schedule.peak=0.02", "--config.rollout.max_completion_length=16"
    reward = f"--reward={tmp_path / 'mine.py'}:broken=0.001"
    config = f"configs/grpo_counting.py:runlocal,data={blank_records(tmp_path / 'records')}"
    output = launcher.run(workdir, *SMALL, *options, reward, "--config.train.steps=12", config=config)
    lines = said(output, workdir)
    for words in ("the KL to the reference is", "reward functions gave no value", "the picture has no effect"):
        assert sum(words in line for line in lines) == 1, (words, lines)


def test_a_reward_that_pays_for_what_is_wrong(launcher, tmp_path):
    """The base answers 31 % of 256 questions with the right digit, after 20 steps 20 %."""
    (tmp_path / "mine.py").write_text(WRONG)
    workdir = tmp_path / "falls"
    options = (
        "--config.prompt=ans", "--config.rollout.max_completion_length=4", "--config.train.prompts=4",
        "--config.train.steps=20", "--config.eval.every=10", "--config.eval.examples=256", "--config.eval.batch=64",
        "--config.rewards.accuracy=0", "--config.rewards.format=0", f"--reward={tmp_path / 'mine.py'}:wrong=1.0",
        "--config.loss.beta=0", "--config.optimizer.schedule.peak=1e-3", "--config.optimizer.schedule.warmup_steps=20",
        "--config.log.exchanged_pictures=False",
    )  # fmt: skip
    lines = said(launcher.run(workdir, *SMALL, *options), workdir)
    assert sum("the training reward rises (" in line and "held-out accuracy falls (" in line for line in lines) == 1
