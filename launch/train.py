"""Trains or resumes: SFT or GRPO, whatever the config says.

    python launch/train.py --config=configs/grpo_counting.py
    python launch/train.py --config=configs/grpo_counting.py --workdir=workdirs/mine --config.train.steps=50

The same command with the --workdir of an unfinished run resumes it. Ctrl-C saves first.
"""

import os
import sys
import time
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from rrft_jax.training.overrides import parse_flags

# transformers says at import that it found no torch, which is as it should be.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

_CONFIG = config_flags.DEFINE_config_file("config", help_string="Config file, with its argument: FILE.py[:arg].")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the run lives; default: workdirs/<config>-<time>.")
_CACHE = flags.DEFINE_string("compilation_cache", "~/.cache/rrft_jax/xla", "Compiled programs are kept here; '': not.")
_EXPLAIN = flags.DEFINE_bool("explain_compilations", False, "Log every compilation and why it was needed.")


def _default_workdir() -> str:
    """workdirs/<config file>-<time>; the last --config wins, as it does for absl."""
    name = "run"
    for arg, following in zip(sys.argv, [*sys.argv[1:], ""], strict=True):
        flag, equals, value = arg.lstrip("-").partition("=")
        if arg.startswith("-") and flag == "config":
            name = Path((value if equals else following).partition(":")[0]).stem
    return f"workdirs/{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"{' '.join(argv[1:])}: not a flag; a config field is set by --config.field=value")
    quiet = logging.get_verbosity() <= logging.INFO
    if quiet:
        logging.set_verbosity(logging.WARNING)
    from rrft_jax import compilation  # after the flags are known to be good: jax is slow to load
    from rrft_jax.training.loop import train

    compilation.keep_programs(_CACHE.value)
    if _EXPLAIN.value:
        compilation.explain_compilations()
    try:
        return train(_CONFIG.value, _WORKDIR.value or _default_workdir(), sys.argv)
    except (ValueError, OSError, RuntimeError) as error:
        if not quiet:  # --verbosity=1 shows where it came from
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
