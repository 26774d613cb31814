"""Trains, or resumes a training: SFT, GRPO or your own algorithm, as the config says.

    python launch/train.py --config=configs/grpo_counting.py
    python launch/train.py --config=configs/grpo_counting.py --workdir=workdirs/mine --config.train.steps=50
    python launch/train.py --config=configs/grpo_counting.py:2b --dry-run
    python launch/train.py --config=configs/grpo_counting.py --reward my_rewards.py:short_answer=0.5

The same command with the --workdir of an unfinished run resumes it. Ctrl-C saves first.

On a TPU pod start it on every worker. Elsewhere give each process --coordinator_address=HOST:PORT --num_processes=N
--process_id=I (or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID), or start N processes on this machine
with --processes=N. The workdir must be on a file system that all of them see.
"""

import os
import sys
import time
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from rrft_jax.compilation import kept_for_good
from rrft_jax.config.command_line import add_rewards, parse_flags
from rrft_jax.parallel.local_processes import run_processes
from rrft_jax.parallel.names import COUNT, LOST_OTHERS, NUMBER
from rrft_jax.run.resume import resume_hint
from rrft_jax.training.interrupt import leave_on_signals

# At import transformers warns that it found no torch, which is intended here.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

_CONFIG = config_flags.DEFINE_config_file("config", help_string="Config file, with its argument: FILE.py[:arg].")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the run lives; default: workdirs/<config>-<time>.")
_REWARD = flags.DEFINE_multi_string(
    "reward", [], "A reward and its weight, added to the config's: my_rewards.py:NAME=0.5, package.module:NAME=0.5 or "
    "a registered name; repeat it for more.",
)  # fmt: skip
_CACHE = flags.DEFINE_string("compilation_cache", "~/.cache/rrft_jax/xla", "Keeps compiled programs; empty disables.")
_PROCESSES = flags.DEFINE_integer("processes", 1, "Start so many processes on this machine, and watch them.", 1)
_ADDRESS = flags.DEFINE_string("coordinator_address", None, "host:port of process 0, if it is not detected.")
_COUNT = flags.DEFINE_integer("num_processes", None, "How many processes the run has.", 1)
_NUMBER = flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.", 0)
_START = flags.DEFINE_integer("start_timeout", 300, "Seconds to wait for all processes at the start.", 1)
_HEARTBEAT = flags.DEFINE_integer("heartbeat_timeout", 100, "Seconds of silence until a process counts as lost.", 10)
_DRY = flags.DEFINE_bool("dry-run", False, "Print the memory the run needs on each device and the host; train nothing.")
_PROFILE = flags.DEFINE_string("profile_steps", "", "First and last step to trace, such as 10,12, into the workdir.")
_EXPLAIN = flags.DEFINE_bool("explain_compilations", False, "Log every compilation and why it was needed.")


def _default_workdir() -> str:
    """workdirs/<config file>-<time>; the last --config wins, as it does for absl."""
    name = "run"
    for arg, following in zip(sys.argv, [*sys.argv[1:], ""], strict=True):
        flag, equals, value = arg.lstrip("-").partition("=")
        if arg.startswith("-") and flag == "config":
            name = Path((value if equals else following).partition(":")[0]).stem
    return f"workdirs/{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _contradiction() -> str:
    """What is wrong where --processes meets a flag that is of one process alone, else ''."""
    if _DRY.value:
        return (
            "--dry-run plans for the devices of one process: leave --processes out, or name all devices with "
            "launch/compile.py --plan --topology=..."
        )
    given = [f"--{flag.name}" for flag in (_ADDRESS, _COUNT, _NUMBER) if flag.value is not None]
    return f"{given[0]} is what --processes gives to each process: leave one of them out" if given else ""


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"{' '.join(argv[1:])}: not a flag; a config field is set by --config.field=value")
    leave_on_signals()
    quiet = logging.get_verbosity() <= logging.INFO
    if quiet and _COUNT.value is None and COUNT not in os.environ:
        # XLA's alarm about a slow compilation reads like an error; what several processes say of each other stays.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if quiet:
        logging.set_verbosity(logging.WARNING)
    workdir = _WORKDIR.value or _default_workdir()
    if _PROCESSES.value > 1 and NUMBER not in os.environ:
        if wrong := _contradiction():
            print(f"error: {wrong}", file=sys.stderr)
            return 2
        command = [sys.executable, *sys.argv, f"--workdir={workdir}"]
        return run_processes(command, _PROCESSES.value, resume_hint(sys.argv, workdir))
    if not _DRY.value:
        print(f"loading libraries; {workdir} will hold the run", flush=True)
    with kept_for_good():
        from rrft_jax import compilation  # after the flags are known to be good: jax is slow to load
        from rrft_jax.data.decoding import quiet_pillow
        from rrft_jax.parallel.cluster import find_cluster, join
        from rrft_jax.parallel.processes import ElsewhereError, is_loss, leave, require_devices, who
        from rrft_jax.run.profiler import parse_steps

    compilation.keep_programs(_CACHE.value)
    quiet_pillow()
    if _EXPLAIN.value:
        compilation.explain_compilations()
    try:
        add_rewards(_CONFIG.value, _REWARD.value)
        if _DRY.value:
            from rrft_jax.planning.dry_run import dry_run

            return dry_run(_CONFIG.value)
        profile_steps = parse_steps(_PROFILE.value)
        join(find_cluster(_ADDRESS.value, _COUNT.value, _NUMBER.value), _START.value, _HEARTBEAT.value)
        require_devices()
        with kept_for_good():
            from rrft_jax.training.stages import run

        return run(_CONFIG.value, workdir, sys.argv, profile_steps)
    except ElsewhereError:  # which says what it was
        return leave(LOST_OTHERS)
    except (ValueError, OSError, RuntimeError) as error:
        if not quiet:  # --verbosity=1 shows where it came from
            raise
        print("\n".join([f"error: {who()}{error}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        return leave(LOST_OTHERS if is_loss(error) else 2)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
