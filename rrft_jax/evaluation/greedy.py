"""Greedy accuracy on fixed held-out sets, told apart by whether the answer reasons."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rrft_jax.processing.processor import Processor, decode
from rrft_jax.rewards import RewardSet


def evaluate(
    generate: Callable,
    params: dict,
    processor: Processor,
    rewards: RewardSet,
    sets: Mapping[str, Sequence],
) -> dict[str, float]:
    """Metrics '<set>/<name>' over the held-out sets.

    generate(params, prompts) -> Rollouts with G = 1. sets: name -> HostBatches; rows of weight 0 are left out.
    rewards: holds 'accuracy' and 'format', the rewards of training, so the parser is the same.
    accuracy_reasoned and accuracy_direct are over the answers that open a <think> and those that do not (NaN: none).
    """
    metrics = {}
    for name, batches in sets.items():
        texts, examples, lengths = [], [], []
        pending = [generate(params, batch.prompts) for batch in batches]
        for batch, rollouts in zip(batches, pending, strict=True):
            tokens, mask = np.asarray(rollouts.tokens)[:, 0], np.asarray(rollouts.mask)[:, 0]
            for row in np.flatnonzero(batch.row_weight):
                texts.append(decode(processor, tokens[row]))
                examples.append(batch.examples[row].without_images())
                lengths.append(int(mask[row].sum()))
        scored = rewards.score(texts, examples, list(range(len(texts))), 0)
        values = dict(zip(scored.names, scored.values, strict=True))
        right = np.nan_to_num(values["accuracy"]) > 0.5
        reasons = np.array(["<think>" in text for text in texts])
        share = lambda hits, among: float(hits[among].mean()) if among.any() else float("nan")  # noqa: E731
        metrics |= {
            f"{name}/accuracy": float(right.mean()),
            f"{name}/format": float(np.nan_to_num(values["format"]).mean()),
            f"{name}/reasons": float(reasons.mean()),
            f"{name}/accuracy_reasoned": share(right, reasons),
            f"{name}/accuracy_direct": share(right, ~reasons),
            f"{name}/mean_length": float(np.mean(lengths)),
        }
    return metrics
