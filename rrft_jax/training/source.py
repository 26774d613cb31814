"""Where batches come from: generated scenes or records of a folder, each batch a pure function of its number."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from rrft_jax.data.example import Example
from rrft_jax.data.index import Bucket, build_index, image_size
from rrft_jax.data.order import batch_ids
from rrft_jax.data.records import RecordError, read_records
from rrft_jax.models.prompts import Prompts
from rrft_jax.processing.buckets import Buckets, collate
from rrft_jax.processing.encoded import EncodedPrompt, Size
from rrft_jax.processing.processor import Processor, encode_prompt, measure
from rrft_jax.tasks.registry import Task
from rrft_jax.training.targets import reference_tokens


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
    encoded = [_encode(processor, text, e) for text, e in zip(texts, filled, strict=True)]
    names = [e.id for e in filled]
    return HostBatch(tuple(filled), tuple(texts), collate(encoded, ids, bucket, processor.pad_token_id, names), weight)


def _encode(processor: Processor, text: str, example: Example) -> EncodedPrompt:
    try:
        return encode_prompt(processor, text, example.images)
    except (ValueError, OSError) as error:
        where = ", ".join(str(i) for i in example.images if isinstance(i, (str, Path)))
        raise ValueError(
            f"example {example.id}{f' ({where})' if where else ''}: {error}; replace the file or remove the record"
        ) from error


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
    """Records in the Reason-RFT JSON layout; those of a seeded share of the pictures are held out.

    Raises RecordError under config.data.strict for what would be skipped as bad; too long is not bad.
    """
    data = config.data
    records = read_records(data.folder, task.name, data.image_root or None, data.strict)
    ask = lambda e: task.format_prompt(config.prompt, e.problem)  # noqa: E731
    pixels: Counter[tuple[int, int]] = Counter()

    def measured(text: str, image_sizes: list[tuple[int, int]]) -> Size:
        pixels.update(image_sizes)
        return measure(processor, text, image_sizes)

    check = (lambda e: reference_tokens(config, task, processor, e)) if config.algorithm == "sft" else (lambda e: None)
    index = build_index(records.examples, ask, measured, Buckets(**config.buckets).shapes, check)
    unreadable = [s for s in index.skipped if s.kind == "unreadable image"]
    if data.strict and unreadable:
        raise RecordError("\n  ".join([f"{len(unreadable)} unreadable:", *(f"{s.id}: {s.reason}" for s in unreadable)]))
    wanted = min(round(len(index.examples) * data.held_out), config.eval.examples)
    out = _hold_out(index.examples, wanted)
    groups = [np.setdiff1d(group, out) for group in index.groups]

    def fetch(t: int) -> HostBatch:
        ids = batch_ids(groups, config.seed, t, config.train.prompts)
        chosen = [index.examples[i] for i in ids.indices]
        return make_batch(processor, ask, chosen, ids.prompt_ids, index.buckets[ids.bucket], config.train.prompts)

    sets = {}
    if len(out):
        buckets = [index.buckets[index.bucket_ids[i]] for i in out]
        examples = [index.examples[i] for i in out]
        sets["eval"] = _in_batches(processor, ask, examples, buckets, config.eval.batch)
    lines = [records.report(), index.report(), _pixels(pixels)]
    lines.append(f"{len(out)} of {len(index.examples)} records held out for evaluation, with their pictures")
    if config.init == "nano":
        height, width = task.image_size
        lines.append(
            f"note: nano has only seen rendered scenes of {width}x{height} pixels. Expect low scores on these records: "
            "what this shows is that real data goes through the whole path"
        )
    return Source(fetch, sets, index.sizes, "\n".join(filter(None, lines)))


def _hold_out(examples: Sequence[Example], wanted: int) -> np.ndarray:
    """Numbers int64[K], ascending, of the records of whole pictures, K >= wanted: no picture is on both sides.

    Fewer where only one picture would be left to train on; a record without pictures stands for itself. The choice
    does not depend on the run's seed: runs are compared on the same questions.
    """
    pictures = _linked(examples)
    order = np.argsort(np.random.Philox(np.random.SeedSequence(0xDA7A)).random_raw(len(pictures)))
    out: list[int] = []
    for picture in order[:-1]:
        if len(out) >= wanted:
            break
        out += pictures[picture]
    return np.sort(np.array(out, np.int64))


def _linked(examples: Sequence[Example]) -> list[list[int]]:
    """Record numbers in groups that share no picture with one another, in order of first appearance."""
    group_of: dict[str, list[int]] = {}  # picture -> its group; records with several pictures join groups
    for number, example in enumerate(examples):
        keys = [str(image) for image in example.images] or [f"record {number}"]
        groups = {id(group_of[key]): group_of[key] for key in keys if key in group_of}
        merged = sorted({number, *(n for group in groups.values() for n in group)})
        moved = [key for key, group in group_of.items() if id(group) in groups] if len(groups) > 1 else []
        target = next(iter(groups.values())) if len(groups) == 1 else []
        target[:] = merged
        for key in [*keys, *moved]:
            group_of[key] = target
    return sorted({id(group): group for group in group_of.values()}.values())


def _pixels(sizes: Counter, shown: int = 4) -> str:
    """The sizes of the records' pictures as they are on disk, the most frequent first."""
    common = ", ".join(f"{width}x{height} ({n} times)" for (height, width), n in sizes.most_common(shown))
    more = f", {len(sizes) - shown} other sizes" if len(sizes) > shown else ""
    return f"pictures before resizing, in pixels: {common}{more}" if sizes else ""


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
