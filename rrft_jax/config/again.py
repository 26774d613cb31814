"""The config of an earlier run as a config file: `launch/train.py --from=WORKDIR` is `--config=<this file>:WORKDIR`, so
that fields are changed and checked as those of any config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from rrft_jax.config.defaults import base_config
from rrft_jax.config.upgrade import upgrade
from rrft_jax.run.workdir import stored_config


def get_config(arg: str | None = None) -> ConfigDict:
    """The config that the run directory `arg` stores. ValueError where it stores none."""
    if not arg:
        raise ValueError("--from=WORKDIR needs the directory of a run")
    return _filled(upgrade(stored_config(Path(arg).expanduser()).to_dict()))


def _filled(stored: Mapping[str, Any]) -> ConfigDict:
    """Today's config with the stored values; fields that may be None keep their types."""
    config, stage1 = base_config(), stored.get("stage1")
    with config.unlocked(), config.ignore_type():
        config.update({name: value for name, value in stored.items() if name not in ("stage1", "buckets")})
        config.buckets = ConfigDict(stored["buckets"])
        config.log.sinks = tuple(config.log.sinks)
        if stage1:
            config.stage1 = _filled(stage1)
            config.init = config.stage1.init  # the second stage began from the first one's result
    return config
