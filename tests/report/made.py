"""A run directory made by hand, with what a page has to show."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from rrft_jax.run.completions import HELD_OUT, CompletionsWriter, Group

ATTACK = "<script>window.attacked = 1</script><img src=x onerror='window.attacked = 1'></script>"


def group(step: int, number: int, task: str = "counting", **fields) -> Group:
    picture = np.full((40, 60, 3), (40 * number) % 255, np.uint8)
    rewards = [0.0, 1.0, 0.5, 2.0]
    texts = [ATTACK, f"<answer>[100, 100, 500, 500]</answer> of step {step}", "the same", "the same"]
    return Group(**{
        "prompt_id": number, "example_id": f"e{number}", "prompt": f"How many? {ATTACK}", "answer": "4",
        "completions": texts, "images": [picture], "rewards": {"accuracy": rewards}, "reward": rewards,
        "advantages": [-1.0, 0.1, -0.4, 1.3], "lengths": [10, 20, 30, 40], "finished": [True, True, True, False],
        "task": task, **fields,
    })  # fmt: skip


def make_run(path: Path, steps: int = 60, seed: int = 0, **config) -> Path:
    path.mkdir(parents=True)
    values = np.random.default_rng(seed).normal(size=steps + 1)
    lines = [{"step": 0, "time": 1.0, "eval/accuracy": 0.25, "eval/questions": 16.0}]
    for step in range(1, steps + 1):
        line = {"step": step, "time": 1.0 + step, "reward": values[step], "rewards/accuracy/mean": 0.5}
        line |= {"kl": 0.01 * step}
        if step == 7:
            line |= {"loss": None, "nonfinite": {"loss": "nan"}}
        if step % 20 == 0:
            line |= {"eval/accuracy": 0.25 + step / 100, "eval/questions": 16.0}
        lines.append(line)
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    stored = {"algorithm": "grpo", "task": "counting", "seed": seed, "train": {"steps": steps}, **config}
    (path / "config.json").write_text(json.dumps(stored))
    (path / "versions.json").write_text(json.dumps({"jax": "0.10", "git": {"commit": "abc", "dirty": True}}))
    for step in (1, steps):
        boxed = group(step, 1, "grounding", answer="[100, 100, 500, 600]", metadata={
            "box": [6, 4, 30, 24], "size": [60, 40], "other": ATTACK
        })  # fmt: skip
        CompletionsWriter(path).write(step, [group(step, 0), boxed])
        asked = group(step, 2, "eval", completions=[f"answer at {step}"], reward=[1.0], rewards={}, advantages=[])
        asked = Group(**{**vars(asked), "lengths": [3], "finished": [True]})
        CompletionsWriter(path, HELD_OUT).write(step, [asked])
    (path / "evaluation").mkdir()
    (path / "evaluation" / "table.md").write_text(f"| | counting_id |\n| - | - |\n| {ATTACK} | 51.0 |\n\nA note.\n")
    Image.new("RGB", (4, 4)).save(path / "evaluation" / "unrelated.png")
    return path
