"""The picture of the README: a held-out scene, its question, the answers before and after a run, and the run's curves.

    python scripts/first_run_picture.py workdirs/seed0 docs/first_run.png

The scene is the first one of the held-out set whose answer is wrong before and right after. Needs the extra [plots].
"""

import textwrap
from pathlib import Path

import jax
from absl import app

from rrft_jax.evaluation.answer import make_answer
from rrft_jax.models.weights import load_params
from rrft_jax.pretrained import load_parts, resolve_init
from rrft_jax.rewards import reward_set
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.run.metrics import read_metrics
from rrft_jax.run.workdir import stored_config
from rrft_jax.tasks.registry import get_task


def greedy(checkpoint: str):
    """(question, images) -> the whole greedy answer of a checkpoint."""
    directory = resolve_init(checkpoint)
    model, processor = load_parts(directory, "float32")
    params = jax.device_put(load_params(directory, model.config))
    answer = make_answer(model, params, processor, Sampling(0.0), max_new_tokens=96)
    return lambda text, images: "".join(answer(text, images))


def main(argv: list[str]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    if len(argv) != 3:
        raise app.UsageError("give a finished workdir and the picture to write")
    workdir, out = Path(argv[1]), Path(argv[2])
    config = stored_config(workdir)
    task = get_task(config.task)
    ask, reward = task.prompt_fn(config.prompt), reward_set({task.metric: 1.0})
    before, after = greedy(config.init), greedy(str(workdir))
    for index in range(config.eval.examples):
        example = task.make(0, index, "val", "in")
        texts = [model(ask(example), example.images) for model in (before, after)]
        if reward.score(texts, [example] * 2, [0, 1], 0).total.tolist() == [0.0, 1.0]:
            break
    else:
        raise SystemExit("no held-out answer changed from wrong to right")

    records = list(read_metrics(workdir))
    steps = [r for r in records if "reward" in r]
    held = [r for r in records if "eval/accuracy" in r]
    figure, (scene, words, curve) = pyplot.subplots(1, 3, figsize=(13, 3.6), width_ratios=(1, 1.35, 1.5))
    scene.imshow(example.images[0])
    scene.set_title(f"held-out scene {index}", fontsize=10)
    scene.axis("off")
    wrapped = lambda text: "\n".join(textwrap.wrap(" ".join(text.split()), 52))  # noqa: E731
    said = [("Question", example.problem, "black"), (f"Step 0 (answer: {example.answer})", texts[0], "#b03030"),
            (f"Step {held[-1]['step']}", texts[1], "#207040")]  # fmt: skip
    words.axis("off")
    height = 1.0
    for title, text, colour in said:
        words.text(0, height, title, fontsize=10, weight="bold", va="top")
        words.text(0, height - 0.08, wrapped(text), fontsize=9, color=colour, va="top", family="monospace")
        height -= 0.15 + 0.065 * (wrapped(text).count("\n") + 1)
    curve.plot([r["step"] for r in steps], [r["reward"] for r in steps], label="reward of sampled answers")
    curve.plot([r["step"] for r in steps], [r[f"rewards/{task.metric}/mean"] for r in steps], label="accuracy of those")
    curve.plot([r["step"] for r in held], [r["eval/accuracy"] for r in held], "ko--", label="held-out accuracy, greedy")
    curve.set_xlabel("step")
    curve.set_ylim(0, 2.4)
    curve.legend(frameon=False, fontsize=9, loc="upper left")
    curve.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    print(f"{out}: held-out example {index}, {example.id}")


if __name__ == "__main__":
    app.run(main)
