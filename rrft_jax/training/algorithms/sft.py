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
from rrft_jax.parallel.processes import all_gather_objects
from rrft_jax.processing.chat import Prompt
from rrft_jax.processing.processor import Processor, encode_completion, encode_replies
from rrft_jax.run.clock import Clock
from rrft_jax.tasks.task import Task
from rrft_jax.training.algorithm import Algorithm, Run
from rrft_jax.training.batches import HostBatch, PromptFn, whole_conversation
from rrft_jax.training.feed import Feed
from rrft_jax.training.step import Batch


def sft_batch(
    config: ConfigDict, task: Task, processor: Processor, mesh: Mesh, host: HostBatch
) -> tuple[Batch, dict[str, float]]:
    """The batch with the target of each example as completion, and its length metrics over all processes."""
    C = config.rollout.max_completion_length
    tokens = np.full((len(host.examples), 1, C), processor.pad_token_id, np.int32)
    mask, trained = np.zeros(tokens.shape, bool), np.zeros(tokens.shape, bool)
    for row, example in enumerate(host.examples):
        ids, own = reference_tokens(config, task, processor, example)
        tokens[row, 0, : len(ids)] = ids
        mask[row, 0, : len(ids)] = True
        trained[row, 0, : len(ids)] = own
    batch = Batch(host.prompts, tokens, mask, Targets(trained, host.row_weight[:, None].astype(np.float32)))
    own = (host.row_weight > 0) & host.layout.owned
    parts = all_gather_objects((mask[own].sum((1, 2)), int(host.prompts.token_mask[own].sum())))
    lengths = np.concatenate([part[0] for part in parts])
    return to_devices(batch, mesh), {
        "completions/mean_length": float(lengths.mean()),
        "completions/max_length": float(lengths.max()),
        "num_tokens": int(lengths.sum()) + sum(part[1] for part in parts),
    }


def reference_tokens(
    config: ConfigDict, task: Task, processor: Processor, example: Example
) -> tuple[np.ndarray, np.ndarray]:
    """int32[c] and bool[c]: the completion, EOS included, and which of its tokens the loss counts.

    It is the task's target (config.sft.target); of a conversation of several turns the assistant's messages as they
    stand, all of them or the last (config.sft.turns), the first with what the user says between them, which the loss
    does not count. Raises ValueError where the example has no such target, or one longer than
    rollout.max_completion_length: it is not cut.
    """
    text = task.targets[config.sft.target](example) if example.reply is None else example.reply
    if example.history and config.sft.turns == "all":
        ids, own = encode_replies(processor, example.history, example.problem, text)
    else:
        ids = encode_completion(processor, text)
        own = np.ones(len(ids), bool)
    limit = config.rollout.max_completion_length
    if len(ids) > limit:
        raise ValueError(
            f"example {example.id}: its target has {len(ids)} tokens, more than rollout.max_completion_length={limit}"
        )
    return ids, own


def _prompt(turns: str, ask: PromptFn, example: Example, training: bool) -> Prompt:
    """Conversations of several turns as they stand; their first question alone where all answers are trained on."""
    if not example.history:
        return whole_conversation(ask, example, training)
    if training and turns == "all":
        return Prompt(example.history[0][1], (), example.system)
    return Prompt(example.problem, example.history, example.system)


def _check(config: ConfigDict, task: Task) -> None:
    if config.sft.target not in task.targets:
        raise ValueError(f"config.sft.target={config.sft.target!r}: choose one of {', '.join(task.targets)}")
    if config.sft.turns not in ("all", "last"):
        raise ValueError(f"config.sft.turns={config.sft.turns!r}: choose all or last")
    for name in ("minibatches", "rollout_epochs"):
        if config.train[name] != 1:
            raise ValueError(
                f"config.train.{name}={config.train[name]} acts on sampled completions, and config.algorithm=sft has "
                "none: leave it at 1; config.train.epochs passes over the records"
            )
    if config.rollout.resample:
        raise ValueError(
            f"config.rollout.resample={config.rollout.resample} draws completions again, and config.algorithm=sft "
            "draws none: give 0"
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
    prompt=lambda config: partial(_prompt, config.sft.turns),
    feed=_feed,
    shown=lambda config, task: (
        ("loss", "loss", "{:.4f}"), ("grad", "grad_norm", "{:.2f}"), ("tok/s", "tokens_per_second", "{:,.0f}")
    ),
)  # fmt: skip
