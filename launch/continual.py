"""Trains on tasks one after the other and measures all of them after each: accuracy matrix, average, forgetting.

    python launch/continual.py --tasks=counting,structure,spatial --workdir=workdirs/seq
    python launch/continual.py --recipe=configs/continual.py:sft --workdir=workdirs/seq_sft -- --config.seed=1
    python launch/continual.py --mixture --workdir=workdirs/all -- --config.train.steps=60

Each stage is a training with --recipe and the task, from the result of the stage before, in WORKDIR/stage_1, stage_2,
...; then every task's first column is answered greedily (generated questions), and KL to the base is measured on drawn
answers. What stands after `--` goes to every training. --mixture: one stage, whose batches hold all tasks.
WORKDIR/matrix.json and matrix.md hold A[i][k], the accuracy on task k after stage i. The same command resumes: finished
stages and answered questions are not done again.
"""

import os
import sys
from functools import cache
from pathlib import Path

from absl import app, flags, logging

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

_RECIPE = flags.DEFINE_string("recipe", "configs/continual.py", "A config file that takes a task; FILE.py or FILE:arg.")
_TASKS = flags.DEFINE_list("tasks", ["counting", "structure", "spatial"], "Short names of the tasks, in their order.")
_MIXTURE = flags.DEFINE_bool("mixture", False, "One training on all tasks at once, in place of a sequence.")
_INIT = flags.DEFINE_string("init", "nano", "What the first stage starts from.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the stages live.", required=True)
_LIMIT = flags.DEFINE_integer("limit", 200, "Questions of each task.", 1)
_KL = flags.DEFINE_integer("kl_limit", 64, "Questions of each task that KL to the base is measured on.", 1)
_SEEDS = flags.DEFINE_list("seeds", [], "A sequence for each seed, in WORKDIR/seed0, ...; default: one, in WORKDIR.")
_NEW = flags.DEFINE_integer("max_new_tokens", 0, "Longest measured answer in tokens; 0: by the task.", 0)
_BASE = flags.DEFINE_string("base", "", "Folder for what is measured of --init, which sequences may share.")
_CACHE = flags.DEFINE_string("compilation_cache", "~/.cache/rrft_jax/xla", "Keeps compiled programs; empty disables.")


def main(argv: list[str]) -> int:
    logging.set_verbosity(logging.WARNING)
    from rrft_jax.compilation import keep_programs
    from rrft_jax.evaluation.sequence import Measuring, make_meter, run_sequence
    from rrft_jax.pretrained import resolve_init
    from rrft_jax.tasks.registry import get_task

    keep_programs(_CACHE.value)
    try:
        if foreign := [arg for arg in argv[1:] if not arg.startswith("--config.")]:
            raise ValueError(f"{foreign[0]}: after -- only fields of the trainings may stand, as --config.field=value")
        tasks = tuple(get_task(name, "--tasks") for name in _TASKS.value)
        stages = ["+".join(_TASKS.value)] if _MIXTURE.value else list(_TASKS.value)
        prompt = configured(stages[0], argv).prompt
        measuring = Measuring(tasks, _LIMIT.value, prompt, _KL.value, _NEW.value)
        for stage in stages:  # all of them before the first one starts
            configured(stage, argv)
        whole = Path(_WORKDIR.value).expanduser()
        base = Path(_BASE.value).expanduser() if _BASE.value else whole / "base"
        meter = cache(lambda: make_meter(resolve_init(_INIT.value), measuring))
        say = lambda text: print(text, flush=True)  # noqa: E731
        code = 0
        for options, workdir in seeded(argv, whole):
            train = lambda stage, init, folder, options=options: trained(stage, init, folder, options)  # noqa: E731
            about = {"recipe": _RECIPE.value, "options": options[1:]}
            code = code or run_sequence(stages, _INIT.value, train, workdir, measuring, base, meter, say, about)
    except (ValueError, OSError, RuntimeError) as error:  # the last: a training that diverged
        print("\n".join([f"error: {error}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        code = 130
    if code:
        print("\nstopped; the same command resumes from here", file=sys.stderr)
    return code


def seeded(argv: list[str], workdir: Path) -> list[tuple[list[str], Path]]:
    """Options and folder of each sequence."""
    if wrong := [seed for seed in _SEEDS.value if not seed.strip().isdecimal()]:
        raise ValueError(f"--seeds: {', '.join(map(repr, wrong))}: whole numbers from 0 are wanted, as in --seeds=0,1")
    if not _SEEDS.value:
        return [(argv, workdir)]
    return [([*argv, f"--config.seed={int(seed)}"], workdir / f"seed{int(seed)}") for seed in _SEEDS.value]


def source(stage: str) -> str:
    """FILE:task,arg of --recipe=FILE:arg."""
    file, _, arg = _RECIPE.value.partition(":")
    return f"{file}:{','.join(filter(None, (f'task={stage}', arg)))}"


def configured(stage: str, argv: list[str]):
    """The config of a stage with the fields behind `--`."""
    from rrft_jax.config.command_line import load_config, parse_config_overrides, with_config_files

    name = with_config_files(["", f"--config={source(stage)}"])[1].partition("=")[2]
    config = load_config(name)
    config.update_from_flattened_dict(parse_config_overrides(config, argv))
    return config


def trained(stage: str, init: str, folder: Path, argv: list[str]) -> int:
    """One training in this process."""
    from rrft_jax.run.clock import cpu_seconds
    from rrft_jax.training.stages import run

    config = configured(stage, argv)
    config.init = init
    # A stopped training prints how to resume it: the command of this training alone, which has its workdir.
    command = ["launch/train.py", f"--config={source(stage)}", *argv[1:], f"--config.init={init}"]
    return run(config, folder, command, began=cpu_seconds())


if __name__ == "__main__":
    app.run(main)
