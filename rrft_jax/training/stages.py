"""A recipe of one stage or two: supervised fine-tuning first, then reinforcement learning from its result."""

from pathlib import Path

from ml_collections import ConfigDict

from rrft_jax.config.task_choice import settle_task
from rrft_jax.parallel.processes import print_once, run_on_all
from rrft_jax.run.clock import cpu_seconds
from rrft_jax.run.resume import resume_hint
from rrft_jax.run.workdir import DONE, STAGE1, flatten
from rrft_jax.training.interrupt import GracefulStop
from rrft_jax.training.loop import asked_to_stop, train
from rrft_jax.training.preset_choice import settle_preset
from rrft_jax.training.validate import check_config


def run(
    config: ConfigDict,
    workdir: str | Path,
    argv: list[str],
    profile_steps: range = range(0),
    began: float = 0.0,
    like: str | Path = "",
) -> int:
    """Trains config.stage1, if there is one, in workdir/stage1, then `config` from its result; returns the exit code.

    The same command resumes the stage that was interrupted: a finished stage 1 is not run again. Both configs are
    checked before anything starts. profile_steps: steps of the last stage to trace. began: as for `train`; each stage
    counts its own CPU time.
    """
    if not config.stage1:
        return train(config, workdir, argv, profile_steps, began, like=like)
    config = config.copy_and_resolve_references()
    if chosen := run_on_all(lambda: settle_task(config)):
        print_once(chosen)
    if chosen := run_on_all(lambda: settle_preset(config)):
        print_once(chosen)
    run_on_all(lambda: (check_config(config), check_stages(config)))
    first = Path(workdir).expanduser().absolute() / STAGE1
    print_once(f"stage 1 of 2, in {first}")
    with GracefulStop() as stop:  # of both: a signal while the first one ends must reach the second
        code = train(config.stage1, first, argv, began=began, stop=stop, like=like and Path(like) / STAGE1)
        if not run_on_all(lambda: (first / DONE).exists()):
            return code
        if asked_to_stop(stop):
            print_once(f"\nstopped before stage 2; to resume:\n  {resume_hint(argv, workdir)}")
            return stop.exit_code
        print_once(f"stage 2 of 2, from {first}")
        began = cpu_seconds()
        config.init = str(first)
        return train(config, workdir, argv, profile_steps, began, stop, like)


def check_stages(config: ConfigDict) -> None:
    """ValueError where a field that both stages share was set in one of them alone, and would be lost, or give the
    stages the wrong records."""
    shared = ["task", "init"]
    if config.data.folder or config.stage1.data.folder:
        shared += ["data.folder", "data.split", "data.image_root", "data.columns", "data.held_out", "eval.examples"]
    first, last = flatten(config.stage1.to_dict()), flatten(config.to_dict())
    for name in shared:
        if first[name] != last[name]:
            raise ValueError(
                f"config.{name}={last[name]!r}, but config.stage1.{name}={first[name]!r}: give both stages the same"
            )
