"""How the batch of a step lies on the devices, from the config: the one place that reads what it says about that."""

from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.parallel.layout import Layout, plan


def step_layout(config: ConfigDict, mesh: Mesh) -> Layout:
    """The layout of a training batch, with its micro-batches.

    Raises ValueError where config.train.micro_batches or group_chunks do not divide what a device holds.
    """
    group = group_size(config)
    layout = plan(mesh, config.train.prompts, group, config.train.micro_batches)
    if (group // layout.split) % config.train.group_chunks:
        raise ValueError(
            f"config.train.group_chunks={config.train.group_chunks} must divide the {group // layout.split} "
            f"completions that a row holds: {layout.describe()}"
        )
    return layout


def group_size(config: ConfigDict) -> int:
    """G: completions of a prompt that a step trains on."""
    return config.rollout.group if config.algorithm == "grpo" else 1
