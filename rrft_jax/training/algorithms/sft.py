"""Supervised fine-tuning: the reference answer is the only completion, G = 1."""

from functools import partial

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.data.example import Example
from rrft_jax.data.loader import make_loader
from rrft_jax.losses.sft import sft_loss
from rrft_jax.losses.terms import Targets
from rrft_jax.parallel.placement import to_devices
from rrft_jax.parallel.processes import exchange
from rrft_jax.processing.processor import Processor, encode_completion
from rrft_jax.run.clock import Clock
from rrft_jax.tasks.task import Task
from rrft_jax.training.algorithm import Algorithm, Run
from rrft_jax.training.batches import HostBatch
from rrft_jax.training.feed import Feed
from rrft_jax.training.step import Batch


def sft_batch(
    config: ConfigDict, task: Task, processor: Processor, mesh: Mesh, host: HostBatch
) -> tuple[Batch, dict[str, float]]:
    """The batch with the task's target (config.sft.target) as completion, and its length metrics over all processes."""
    C = config.rollout.max_completion_length
    tokens = np.full((len(host.examples), 1, C), processor.pad_token_id, np.int32)
    mask = np.zeros(tokens.shape, bool)
    for row, example in enumerate(host.examples):
        ids = reference_tokens(config, task, processor, example)
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


def reference_tokens(config: ConfigDict, task: Task, processor: Processor, example: Example) -> list[int]:
    """Tokens of the task's target (config.sft.target), EOS included.

    Raises ValueError where the example has no such target, or one longer than rollout.max_completion_length: it is
    not cut.
    """
    ids = encode_completion(processor, task.targets[config.sft.target](example))
    limit = config.rollout.max_completion_length
    if len(ids) > limit:
        raise ValueError(
            f"example {example.id}: its target has {len(ids)} tokens, more than rollout.max_completion_length={limit}"
        )
    return ids


def _check(config: ConfigDict, task: Task) -> None:
    if config.sft.target not in task.targets:
        raise ValueError(f"config.sft.target={config.sft.target!r}: choose one of {', '.join(task.targets)}")
    for name in ("minibatches", "rollout_epochs"):
        if config.train[name] != 1:
            raise ValueError(
                f"config.train.{name}={config.train[name]} acts on sampled completions, and config.algorithm=sft has "
                "none: leave it at 1; config.train.epochs passes over the records"
            )
    if config.rollout.ahead:
        raise ValueError("config.rollout.ahead=1 draws completions ahead, and config.algorithm=sft draws none: give 0")


def _feed(run: Run, clock: Clock, step: int, in_flight: None) -> Feed:
    del in_flight  # nothing is drawn
    make = partial(sft_batch, run.config, run.task, run.processor, run.mesh)
    batches = make_loader(run.source.fetch, step, run.config.train.steps, prefetch=2, threads=2)
    return Feed(batches, lambda params, host, t: (*make(host), []), clock)


SFT = Algorithm(
    name="sft",
    samples=False,
    group=lambda config: 1,
    updates=lambda config: 1,
    reference=lambda config: False,
    loss=lambda config: sft_loss,
    advantages=None,
    check=_check,
    check_example=lambda config, task, processor: partial(reference_tokens, config, task, processor),
    feed=_feed,
    shown=lambda config, task: (
        ("loss", "loss", "{:.4f}"), ("grad", "grad_norm", "{:.2f}"), ("tok/s", "tokens_per_second", "{:,.0f}")
    ),
)  # fmt: skip
