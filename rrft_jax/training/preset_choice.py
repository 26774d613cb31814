"""config.algorithm=dapo and others: the fields that an algorithm's preset sets."""

from ml_collections import ConfigDict

from rrft_jax.config.defaults import base_config
from rrft_jax.training.algorithms import get_algorithm


def settle_preset(config: ConfigDict) -> str:
    """Sets the fields of config.algorithm's preset that are at their defaults, in stage 1 too. Returns what was set, in
    words, else "". The aggregation belongs to the name, of the preset as of config.loss.type: a recipe shows its own,
    and gives it up."""
    said = [settle_preset(config.stage1)] if config.stage1 else []
    preset = get_algorithm(config.algorithm).preset
    defaults, changed = base_config(), []
    for name, value in preset.items():
        group, _, field = name.rpartition(".")
        if config[group][field] != value and (
            name == "loss.aggregation" or config[group][field] == defaults[group][field]
        ):
            config[group][field] = value
            changed.append(f"config.{name}={value}")
    if changed:
        said.append(f"{config.algorithm} sets {', '.join(changed)}")
    if config.loss.type and config.loss.aggregation != defaults.loss.aggregation:
        said.append(
            f"config.loss.type={config.loss.type} decides the aggregation: config.loss.aggregation="
            f"{config.loss.aggregation} of the config is not used"
        )
        config.loss.aggregation = defaults.loss.aggregation
    return "\n".join(filter(None, said))
