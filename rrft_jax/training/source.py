"""Where batches come from: generated scenes or records of a folder, each batch a pure function of its number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from ml_collections import ConfigDict

from rrft_jax.data.example import Example
from rrft_jax.data.index import Bucket, build_index, image_size
from rrft_jax.data.order import batch_ids
from rrft_jax.data.records import read_records
from rrft_jax.models.prompts import Prompts
from rrft_jax.processing.buckets import Buckets, collate
from rrft_jax.processing.encoded import Size
from rrft_jax.processing.processor import Processor, encode_prompt, measure
from rrft_jax.tasks.registry import Task


@dataclass(frozen=True)
class HostBatch:
    """One batch on the host: B examples with the text they were asked, their padded Prompts (numpy), and row_weight
    float32[B], 0 for rows that only fill the batch."""

    examples: tuple[Example, ...]
    texts: tuple[str, ...]
    prompts: Prompts
    row_weight: np.ndarray


@dataclass(frozen=True)
class Source:
    """Training batches by number, held-out sets by name, and what to tell the user about them."""

    fetch: Callable[[int], HostBatch]
    held_out: dict[str, tuple[HostBatch, ...]]
    sizes: tuple[Size, ...]
    report: str


def make_batch(
    processor: Processor,
    ask: Callable[[Example], str],
    examples: Sequence[Example],
    prompt_ids: Sequence[int],
    bucket: Bucket,
    rows: int,
) -> HostBatch:
    """Encodes and pads examples; fewer than `rows` are filled up with repetitions of weight 0."""
    weight = (np.arange(rows) < len(examples)).astype(np.float32)
    filled = [examples[i % len(examples)] for i in range(rows)]
    ids = [prompt_ids[i % len(examples)] for i in range(rows)]
    texts = [ask(e) for e in filled]
    encoded = [encode_prompt(processor, text, e.images) for text, e in zip(texts, filled, strict=True)]
    return HostBatch(tuple(filled), tuple(texts), collate(encoded, ids, bucket, processor.pad_token_id), weight)


def generated_source(config: ConfigDict, task: Task, processor: Processor) -> Source:
    """Scenes rendered on the fly; held out: fixed in-domain and out-of-domain scenes of another split."""
    buckets = Buckets(**config.buckets)
    probe = [task.make(config.seed, i, "train", "in") for i in range(64)]
    ask = lambda e: task.format_prompt(config.prompt, e.problem)  # noqa: E731
    sizes = [measure(processor, ask(e), [image_size(i) for i in e.images]) for e in probe]
    largest = Size(max(s.prompt_tokens for s in sizes), max((s.patches for s in sizes), key=sum))
    bucket = buckets.choose(largest, f"{task.name}, generated")
    B = config.train.prompts

    def fetch(t: int) -> HostBatch:
        ids = range(t * B, (t + 1) * B)
        return make_batch(processor, ask, [task.make(config.seed, i, "train", "in") for i in ids], ids, bucket, B)

    def held_out(domain: str) -> tuple[HostBatch, ...]:
        # The seed of the run does not choose the questions that runs are compared on.
        examples = [task.make(0, i, "val", domain) for i in range(config.eval.examples)]
        return _in_batches(processor, ask, examples, [bucket] * len(examples), config.eval.batch)

    sets = {"eval": held_out("in"), "eval_ood": held_out("out")} if config.eval.examples else {}
    return Source(fetch, sets, tuple(sizes), f"{task.name}: scenes rendered on the fly, seed {config.seed}")


def folder_source(config: ConfigDict, task: Task, processor: Processor) -> Source:
    """Records in the Reason-RFT JSON layout; a seeded share of them is held out."""
    data = config.data
    records = read_records(data.folder, task.name, data.image_root or None, data.strict)
    ask = lambda e: task.format_prompt(config.prompt, e.problem)  # noqa: E731
    index = build_index(records.examples, ask, partial(measure, processor), Buckets(**config.buckets).shapes)
    count = len(index.examples)
    order = np.argsort(np.random.Philox(np.random.SeedSequence((config.seed, 0xDA7A))).random_raw(count))
    kept_out = min(round(count * data.held_out), count - 1, config.eval.examples)
    out = np.sort(order[:kept_out])
    groups = [np.setdiff1d(group, out) for group in index.groups]

    def fetch(t: int) -> HostBatch:
        ids = batch_ids(groups, config.seed, t, config.train.prompts)
        chosen = [index.examples[i] for i in ids.indices]
        return make_batch(processor, ask, chosen, ids.prompt_ids, index.buckets[ids.bucket], config.train.prompts)

    sets = {}
    if kept_out:
        buckets = [index.buckets[index.bucket_ids[i]] for i in out]
        examples = [index.examples[i] for i in out]
        sets["eval"] = _in_batches(processor, ask, examples, buckets, min(config.eval.batch, len(examples)))
    report = f"{records.report()}\n{index.report()}\n{kept_out} of {count} records held out for evaluation"
    return Source(fetch, sets, index.sizes, report)


def _in_batches(processor, ask, examples, buckets, rows) -> tuple[HostBatch, ...]:
    """Batches of one bucket each, the last of a bucket filled up."""
    batches = []
    for bucket in dict.fromkeys(buckets):
        mine = [i for i, b in enumerate(buckets) if b == bucket]
        for low in range(0, len(mine), rows):
            chosen = mine[low : low + rows]
            batches.append(make_batch(processor, ask, [examples[i] for i in chosen], chosen, bucket, rows))
    return tuple(batches)


def make_source(config: ConfigDict, task: Task, processor: Processor) -> Source:
    return (folder_source if config.data.folder else generated_source)(config, task, processor)
