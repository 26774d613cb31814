"""Whether answers need their pictures: the first held-out batch once more, with pictures exchanged between its prompts.

Only prompts whose pictures have the same sizes exchange them, so shapes stay, and the greedy program that evaluates
serves this batch too. The cost of a check is one batch of config.eval.batch questions.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from rrft_jax.data.decoding import image_size
from rrft_jax.data.example import Example
from rrft_jax.data.index import Bucket
from rrft_jax.parallel.layout import Layout
from rrft_jax.parallel.processes import all_gather_objects, local_rows
from rrft_jax.processing.chat import Prompt
from rrft_jax.processing.processor import Processor, decode
from rrft_jax.rewards import RewardSet
from rrft_jax.rollout.sampler import Rollouts
from rrft_jax.training.batches import HostBatch, make_batch

FINISHED = 3  # place in what `_arrays` gives
FEW = 8  # tokens: the first ones of an answer that is cut off may be the same whatever is seen


def partners(sizes: Sequence[Sequence[tuple[int, int]]]) -> list[int]:
    """Whose pictures each prompt gets: those of the next one with pictures of the same sizes; its own where there is
    none. sizes: (height, width) of the pictures of each prompt."""
    alike: dict[tuple, list[int]] = {}
    for number, own in enumerate(sizes):
        alike.setdefault(tuple(map(tuple, own)), []).append(number)
    found = list(range(len(sizes)))
    for own, numbers in alike.items():
        for number, following in zip(numbers, numbers[1:] + numbers[:1], strict=True):
            found[number] = following if own else number
    return found


def exchanged_batch(
    processor: Processor, prompt: Callable[[Example], Prompt], example: Callable[[int], Example],
    buckets: Sequence[Bucket], layout: Layout,
) -> HostBatch | None:  # fmt: skip
    """The first batch that `in_batches` makes of the same arguments, with exchanged pictures. Rows whose picture is
    still their own have weight 0; None where all have."""
    ids = [i for i, bucket in enumerate(buckets) if bucket == buckets[0]][: layout.prompts]
    examples = [example(i) for i in ids]
    given = partners([[image_size(image) for image in e.images] for e in examples])
    if given == list(range(len(ids))):
        return None
    mixed = [replace(e, images=examples[k].images) for e, k in zip(examples, given, strict=True)]
    batch = make_batch(processor, prompt, lambda k: mixed[k], ids, buckets[0], layout)
    moved = np.array([k != number for number, k in enumerate(given)])
    return replace(batch, row_weight=batch.row_weight * moved[layout.prompt_of % len(ids)])


class Exchange:
    """`own` takes the greedy answers of the first held-out batch, `metrics` compares them with those to the exchanged
    pictures.

    generate: as of `evaluate_held_out`. metric: the reward whose value 1 is a right answer.
    """

    def __init__(self, generate: Callable, processor: Processor, rewards: RewardSet, metric: str):
        self._generate, self._processor = generate, processor
        self._rewards, self._metric = rewards.only(metric), metric
        self._own: tuple[np.ndarray, ...] = ()

    def own(self, batch: HostBatch, drawn: Rollouts) -> None:
        self._own = _arrays(batch, drawn)

    def metrics(self, params: dict, batch: HostBatch, step: int = 0) -> dict[str, float]:
        """images/exchanged: questions asked again whose own answer ended or has FEW tokens; images/right: of these,
        answered right with their own picture; images/still_right: with the other one too; images/log_prob_change: by
        how many nats the log-prob of a token moves at most, on average over the questions. Empty where there is none.
        """
        other = _arrays(batch, self._generate(params, batch.prompts))
        long = self._own[FINISHED] | (self._own[1].sum(-1) >= FEW)
        rows = np.flatnonzero((batch.row_weight > 0) & batch.layout.owned & long)
        texts = [decode(self._processor, tokens[i]) for tokens, *_ in (self._own, other) for i in rows]
        examples = [batch.examples[i].without_images() for i in rows]
        scores = np.zeros((2, len(rows)))
        if len(rows):
            scored = self._rewards.score(texts, examples * 2, list(range(len(texts))), step)
            scores = np.nan_to_num(scored.values[scored.names.index(self._metric)]).reshape(2, -1)
        right = scores >= 1
        changes = [change(*(x[i] for x in (*self._own[:FINISHED], *other[:FINISHED]))) for i in rows]
        found = [both for part in all_gather_objects(list(zip(*right.tolist(), changes, strict=True))) for both in part]
        if not found:
            return {}
        own_right, other_right, changed = map(np.array, zip(*found, strict=True))
        return {
            "images/exchanged": float(len(found)),
            "images/right": float(own_right.sum()),
            "images/still_right": float((own_right & other_right).sum()),
            "images/log_prob_change": float(changed.mean()),
        }


def change(
    tokens: np.ndarray, mask: np.ndarray, log_probs: np.ndarray,
    other_tokens: np.ndarray, other_mask: np.ndarray, other_log_probs: np.ndarray,
) -> float:  # fmt: skip
    """The largest absolute difference of log-probs [C] in nats over the tokens that two answers share at their
    beginning, or of their first tokens where those differ already."""
    same = (tokens == other_tokens) & mask & other_mask
    shared = int(np.argmin(same)) if not same.all() else len(same)
    return float(np.abs(log_probs - other_log_probs)[: max(shared, 1)].max())


def _arrays(batch: HostBatch, drawn: Rollouts) -> tuple[np.ndarray, ...]:
    rows = batch.layout.mine
    return tuple(local_rows(x, rows)[:, 0] for x in (drawn.tokens, drawn.mask, drawn.log_probs, drawn.finished))
