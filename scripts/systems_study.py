"""Does GRPO raise the tasks' own metrics? Six tasks of boxes, names, points and actions, on the bundled nano model.

    python scripts/systems_study.py                                   # everything; resumes where it was stopped
    python scripts/systems_study.py --only=grounding --seed=1         # one task, its base first, and one seed
    python scripts/systems_study.py --minutes=5                       # begins no further run after so long

Per task: a base, nano after a short SFT on the task's generated pictures; then for each seed GRPO from it, and as a
control as many steps of SFT on as many prompts. Each finished run leaves a JSON cell (docs/results/systems) with the
task's metrics on held-out pictures before (of the base) and after, and what kinds of failure they leave
(systems_failures.py), these of the first batch of each set, whose answers a run keeps. A run whose cell is there is
skipped; one that was interrupted resumes in its workdir.
"""

import json
import os
import runpy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from absl import app, flags, logging
from systems_failures import kinds, shares

from rrft_jax.compilation import keep_programs
from rrft_jax.files import write_atomic
from rrft_jax.run.clock import cpu_seconds
from rrft_jax.run.metrics import read_metrics
from rrft_jax.run.workdir import VERSIONS
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.stages import run

ROOT = Path(__file__).parents[1]
FLAGS = flags.FLAGS
flags.DEFINE_list("only", [], "Short names of tasks; empty: all six.")
flags.DEFINE_list("seed", ["1", "2", "3"], "Seeds of GRPO and of its control.")
flags.DEFINE_list("method", ["grpo", "sft"], "What to run after the base: grpo, sft; empty: the base alone.")
flags.DEFINE_string("workdir", "workdirs/systems", "Where the runs live.")
flags.DEFINE_string("cells", str(ROOT / "docs/results/systems"), "Where the JSON cells go.")
flags.DEFINE_float("minutes", 0.0, "Begin no further run after so many minutes; 0: no limit.")

HELD_OUT = 128  # pictures of each held-out set
BASE_SEED = 0  # none of the seeds after it, so that no run sees the base's own pictures again
STEPS, PROMPTS, GROUP, PEAK = 30, 32, 8, 2e-4  # of GRPO; steps, prompts and peak of its control too
TOWER = ("^vision/",)


@dataclass(frozen=True)
class Study:
    """config: file and argument of GRPO. base_steps, base_peak: of the SFT that makes the base. metrics: the task's
    own, the first decides. frozen: parameters that stay as they are in all runs. The first gradients of an untrained
    decoder make the tower forget what it can name; `screen` and
    `referring` train it, since it has yet to learn letters and icons, and places."""

    config: str
    base_steps: int
    base_peak: float
    metrics: tuple[str, ...]
    frozen: tuple[str, ...] = TOWER


STUDIES: Mapping[str, Study] = {
    "classification": Study("visual_rft.py:classification", 300, 5e-4, ("accuracy_of_questions",)),
    "navigation": Study("ui_venus.py:navigation", 100, 1e-3, ("step_success", "type_accuracy", "grounding")),
    "grounding": Study("visual_rft.py:grounding", 150, 1e-3, ("gIoU", "IoU50", "cIoU")),
    "screen": Study("ui_venus.py:screen", 400, 1e-3, ("action_acc", "text_acc", "icon_acc", "wrong_format"), ()),
    "referring": Study("roborefer.py:", 400, 1e-3, ("near", "mask"), ()),
    "detection": Study("visual_rft.py:detection", 100, 1e-3, ("score", "AP50", "mAP", "absent_right")),
}  # fmt: skip


def config_of(file: str, argument: str):
    return runpy.run_path(str(ROOT / "configs" / file))["get_config"](argument)


def make_config(name: str, method: str, seed: int, base: str):
    """The config of a run. method: base, sft or grpo; base: the finished workdir that the last two start from."""
    study = STUDIES[name]
    file, _, argument = study.config.partition(":")
    config = config_of(file, argument) if method == "grpo" else config_of("cot_sft.py", name)
    config.seed = seed
    config.train.freeze = study.frozen
    config.eval.update({"every": 0, "examples": HELD_OUT, "batch": 64})
    config.log.update({"held_out_prompts": HELD_OUT, "report": False, "sinks": ()})
    if method == "base":
        config.train.steps = study.base_steps
        config.optimizer.schedule.peak = study.base_peak
        return config
    config.init = base
    config.train.update({"steps": STEPS, "prompts": PROMPTS, "micro_batches": 4})
    config.rollout.group = GROUP
    config.optimizer.update({"b1": 0.9, "b2": 0.98})
    config.optimizer.schedule.update({"name": "linear", "peak": PEAK, "warmup_steps": 5})
    config.loss.aggregation = "token_mean"  # as in configs/grpo_counting.py
    return config


def cell_of(name: str, method: str, seed: int, workdir: Path) -> dict:
    """The numbers of a finished run, before and after it."""
    records = [r for r in read_metrics(workdir) if "eval/accuracy" in r]
    config, done = (json.loads((workdir / file).read_text()) for file in ("config.json", "DONE"))
    versions = json.loads((workdir / VERSIONS).read_text())
    cell = {
        "task": name, "method": method, "seed": seed, "init": Path(config["init"]).name,
        "commit": (versions["git"] or {}).get("commit", ""), "cores": versions["cores"], "jax": versions["jax"],
        "steps": config["train"]["steps"], "prompts": config["train"]["prompts"],
        "group": config["rollout"]["group"] if method == "grpo" else 1,
        "peak": config["optimizer"]["schedule"]["peak"], "questions": HELD_OUT,
        "cpu_seconds": done["cpu_seconds"],
    }  # fmt: skip
    for when, record in (("before", records[0]), ("after", records[-1])):
        found = failures(get_task(name), workdir, record["step"])
        for part in ("eval", "eval_ood"):
            names = dict.fromkeys(("accuracy", "format", "mean_length", *STUDIES[name].metrics))
            numbers = {key: round(record[f"{part}/{key}"], 4) for key in names if f"{part}/{key}" in record}
            cell.setdefault(when, {})[part] = numbers | {"kinds": found[part]}
    return cell


def failures(task, workdir: Path, step: int) -> dict[str, dict[str, float]]:
    """Set -> share of each kind of answer at an evaluation of a run."""
    texts: dict[str, list[str]] = {}
    with open(workdir / "held_out" / f"step_{step:06d}" / "groups.jsonl", encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            texts.setdefault(line["task"], []).append((line["example_id"], line["completions"][0]))
    found = {}
    for part, rows in texts.items():
        domain = task.held_out[part].domain
        made = {e.id: e for e in (task.make(0, i, "val", domain) for i in range(HELD_OUT))}
        found[part] = shares(kinds(task.name, [text for _, text in rows], [made[name] for name, _ in rows]))
    return found


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    if wrong := set(FLAGS.only) - set(STUDIES) or set(FLAGS.method) - {"grpo", "sft"}:
        raise app.UsageError(f"{', '.join(wrong)}: there are {', '.join(STUDIES)}, and the methods grpo, sft")
    logging.set_verbosity(logging.WARNING)
    keep_programs("~/.cache/rrft_jax/xla")
    began, work, cells = time.monotonic(), Path(FLAGS.workdir), Path(FLAGS.cells)
    cells.mkdir(parents=True, exist_ok=True)
    queue = [(name, "base", BASE_SEED) for name in FLAGS.only or STUDIES]
    queue += [(name, method, int(seed)) for seed in FLAGS.seed for name in FLAGS.only or STUDIES
              for method in FLAGS.method]  # fmt: skip
    for name, method, seed in queue:
        label = f"{name}-base" if method == "base" else f"{name}-{method}-seed{seed}"
        file = cells / f"{label}.json"
        if (work / label / "DONE").exists() if method == "base" else file.exists():
            continue
        if FLAGS.minutes and time.monotonic() - began > 60 * FLAGS.minutes:
            print(f"{label} and what follows it have not been run; the same command resumes there")
            return 0
        config = make_config(name, method, seed, str(work / f"{name}-base"))
        command = ["scripts/systems_study.py", f"--only={name}", f"--workdir={work}"]
        if code := run(config, work / label, command, began=cpu_seconds()):
            return code
        if method != "base" and (work / label / "DONE").exists():
            cell = cell_of(name, method, seed, work / label)
            write_atomic(file, (json.dumps(cell, indent=1) + "\n").encode())
            print(label, json.dumps(cell["after"]["eval"]), flush=True)
    return 0


if __name__ == "__main__":
    app.run(main)
