"""SFT's batches: the reference answer is the only completion, G = 1."""

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.losses.terms import Targets
from rrft_jax.parallel.processes import exchange
from rrft_jax.processing.processor import Processor, encode_completion
from rrft_jax.tasks.registry import Task
from rrft_jax.training.forward import Batch
from rrft_jax.training.programs import to_devices
from rrft_jax.training.source import HostBatch


def sft_batch(
    config: ConfigDict, task: Task, processor: Processor, mesh: Mesh, host: HostBatch
) -> tuple[Batch, dict[str, float]]:
    """The batch with the task's target (config.sft.target) as completion, and its length metrics over all processes.

    Raises ValueError with the example's id where a target is longer than rollout.max_completion_length: it is not cut.
    """
    target = task.targets[config.sft.target]
    C = config.rollout.max_completion_length
    tokens = np.full((len(host.examples), 1, C), processor.pad_token_id, np.int32)
    mask = np.zeros(tokens.shape, bool)
    for row, example in enumerate(host.examples):
        ids = encode_completion(processor, target(example))
        if len(ids) > C:
            raise ValueError(
                f"example {example.id}: its target has {len(ids)} tokens, more than rollout.max_completion_length={C}"
            )
        tokens[row, 0, : len(ids)] = ids
        mask[row, 0, : len(ids)] = True
    batch = Batch(host.prompts, tokens, mask, Targets(mask, host.row_weight[:, None].astype(np.float32)))
    own = (host.row_weight > 0) & host.layout.owned
    parts = exchange((mask[own].sum((1, 2)), int(host.prompts.token_mask[own].sum())))
    lengths = np.concatenate([part[0] for part in parts])
    return to_devices(batch, mesh), {
        "completions/mean_length": float(lengths.mean()),
        "completions/max_length": float(lengths.max()),
        "num_tokens": int(lengths.sum()) + sum(part[1] for part in parts),
    }
