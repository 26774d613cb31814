"""config.algorithm=dapo and others: the fields that an algorithm's preset sets."""

from ml_collections import ConfigDict

from rrft_jax.config.defaults import base_config
from rrft_jax.training.algorithms import get_algorithm


def settle_preset(config: ConfigDict) -> str:
    """Sets the fields of config.algorithm's preset that are at their defaults, in stage 1 too, and gives
    config.loss.aggregation up where config.loss.type decides it. Returns what was set or kept, in words, else ""."""
    said = [settle_preset(config.stage1)] if config.stage1 else []
    preset = get_algorithm(config.algorithm).preset
    defaults, changed, kept = base_config(), [], []
    for name, value in preset.items():
        group, _, field = name.rpartition(".")
        if config[group][field] == defaults[group][field] != value:
            config[group][field] = value
            changed.append(f"config.{name}={value}")
        elif config[group][field] != value:
            kept.append(f"config.{name}={config[group][field]} of the config stays, {value} is the name's own")
    if changed or kept:
        said.append(f"{config.algorithm} sets {', '.join(changed) or 'nothing'}{''.join('; ' + k for k in kept)}")
    if config.loss.type and config.loss.aggregation != defaults.loss.aggregation:
        # A recipe shows its aggregation, and the name may come from the command line.
        said.append(
            f"config.loss.type={config.loss.type} decides the aggregation: config.loss.aggregation="
            f"{config.loss.aggregation} of the config is not used"
        )
        config.loss.aggregation = defaults.loss.aggregation
    return "\n".join(filter(None, said))
