"""Where batches come from: generated scenes or records of a folder, each batch a pure function of its number."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ml_collections import ConfigDict

from rrft_jax.data.decoding import image_size
from rrft_jax.data.example import Example
from rrft_jax.data.folder import read_folder
from rrft_jax.data.index import build_index
from rrft_jax.data.order import batch_ids, epochs_passed
from rrft_jax.data.records import RecordError
from rrft_jax.data.subset import chosen, generated_number, hold_out, usable
from rrft_jax.parallel.layout import Layout, whole
from rrft_jax.processing.buckets import Buckets
from rrft_jax.processing.encoded import Size
from rrft_jax.processing.processor import Processor, measure
from rrft_jax.tasks.records import taken
from rrft_jax.tasks.task import Task
from rrft_jax.tasks.texts import IMAGE_MARK
from rrft_jax.training.batches import KEPT, HostBatch, Layouts, in_batches, make_batch

Check = Callable[[Example], object]


@dataclass(frozen=True)
class Source:
    """Training batches by number, held-out sets by name, and what to tell the user about them.

    held_out: batches that are made when they are asked for; as many as KEPT has room for are kept.
    epochs(t): how often the first t batches have been through the records; None where scenes are generated without end.
    """

    fetch: Callable[[int], HostBatch]
    held_out: dict[str, Sequence[HostBatch]]
    sizes: tuple[Size, ...]
    report: str
    skipped: tuple[dict[str, str], ...] = ()  # records that are left out, each with why
    records: int = 0  # training examples of one pass; 0: they never end
    epochs: Callable[[int], float] | None = None


def generated_source(
    config: ConfigDict, task: Task, processor: Processor, step: Layout, held: Layouts, trainable: Check
) -> Source:
    """Scenes rendered on the fly; held out: fixed scenes of each domain, of another split."""
    buckets = Buckets(**config.buckets)
    probe = [task.make(config.seed, i, "train", "in") for i in range(64)]
    ask = task.asker(config.prompt, marks=processor.image_mark is not None)
    sizes = [measure(processor, ask(e), [image_size(i) for i in e.images]) for e in probe]
    largest = Size(max(s.prompt_tokens for s in sizes), max((s.patches for s in sizes), key=sum))
    bucket = buckets.choose(largest, f"{task.name}, generated")
    B = config.train.prompts

    start, stop = config.data.range

    def fetch(t: int) -> HostBatch:
        ids = range(t * B, (t + 1) * B)
        number = lambda k: generated_number(ids[k], start, stop)  # noqa: E731
        return make_batch(processor, ask, lambda k: task.make(config.seed, number(k), "train", "in"), ids, bucket, step)

    room = KEPT // max(len(task.held_out), 1)

    def held_out(domain: str) -> Sequence[HostBatch]:
        # The seed of the run does not choose the questions that runs are compared on.
        buckets = [bucket] * config.eval.examples
        layout = held(config.eval.batch)
        return in_batches(processor, ask, lambda i: task.make(0, i, "val", domain), buckets, layout, room)

    sets = {name: held_out(of.domain) for name, of in task.held_out.items()} if config.eval.examples else {}
    report = f"{task.name}: scenes rendered on the fly, seed {config.seed}"
    return Source(fetch, sets, tuple(sizes), report, records=max(stop - start, 0))


def folder_source(
    config: ConfigDict, task: Task, processor: Processor, step: Layout, held: Layouts, trainable: Check
) -> Source:
    """Records in the Reason-RFT JSON layout or a prepared data set; those of a share of the pictures are held out.

    Raises RecordError under config.data.strict for what would be skipped as bad; too long is not bad.
    """
    data = config.data
    records = read_folder(data.folder, task.name, data.split, data.image_root, data.strict)
    examples, refused = taken(task, records.examples)
    ask = task.asker(config.prompt, real=True, marks=processor.image_mark is not None)
    pixels: Counter[tuple[int, int]] = Counter()

    def measured(text: str, image_sizes: list[tuple[int, int]]) -> Size:
        pixels.update(image_sizes)
        return measure(processor, text, image_sizes)

    def check(example: Example) -> None:
        if example.id in refused:
            raise ValueError(refused[example.id])
        trainable(example)

    index = build_index(examples, ask, measured, Buckets(**config.buckets).shapes, check)
    unreadable = [s for s in index.skipped if s.kind == "unreadable image"]
    if data.strict and unreadable:
        raise RecordError("\n  ".join([f"{len(unreadable)} unreadable:", *(f"{s.id}: {s.reason}" for s in unreadable)]))
    out, part = (usable(examples, index.examples, n) for n in _shared_out(examples, config))
    if not len(part):
        raise RecordError(f"none of the records to train on can be used\n{index.report()}")
    groups = [np.intersect1d(group, part) for group in index.groups]

    def fetch(t: int) -> HostBatch:
        ids = batch_ids(groups, config.seed, t, config.train.prompts)
        bucket = index.buckets[ids.bucket]
        return make_batch(processor, ask, lambda k: index.examples[ids.indices[k]], ids.prompt_ids, bucket, step)

    sets = {}
    if len(out):
        buckets = [index.buckets[index.bucket_ids[i]] for i in out]
        layout = held(min(config.eval.batch, len(out)))
        sets["eval"] = in_batches(processor, ask, lambda i: index.examples[out[i]], buckets, layout, KEPT)
    lines = [records.report(), index.report(), _pixels(pixels)]
    lines.append(f"{len(out)} of {len(index.examples)} records held out for evaluation, with their pictures")
    if config.init == "nano":
        height, width = task.image_size
        lines.append(
            f"note: nano has only seen rendered scenes of {width}x{height} pixels. Expect low scores on these records: "
            "what this shows is that real data goes through the whole path"
        )
    skipped = (
        *({"file": p.file, "record": p.record, "kind": p.kind, "reason": p.message} for p in records.problems),
        *({"record": s.id, "kind": s.kind, "reason": s.reason} for s in index.skipped),
    )
    training = len(index.examples) - len(out)
    if len(part) < training:
        lines.append(f"{len(part)} of the {training} training records are used: config.data.range={data.range}")
    counts = [len(group) for group in groups]
    epochs = lambda t: epochs_passed(counts, t, config.train.prompts)  # noqa: E731
    return Source(fetch, sets, index.sizes, "\n".join(filter(None, lines)), skipped, len(part), epochs)


def _shared_out(examples: Sequence[Example], config: ConfigDict) -> tuple[np.ndarray, np.ndarray]:
    """Numbers int64[K] of the records held out, and of those to train on.

    Of all records, before any is left out as too long or without a target: the stages of a recipe leave out different
    ones, and must agree on which are whose.
    """
    out = hold_out(examples, min(round(len(examples) * config.data.held_out), config.eval.examples))
    training = np.setdiff1d(np.arange(len(examples)), out)
    return out, training[chosen(len(training), *config.data.range)]


def _pixels(sizes: Counter, shown: int = 4) -> str:
    """The sizes of the records' pictures as they are on disk, the most frequent first."""
    common = ", ".join(f"{width}x{height} ({n} times)" for (height, width), n in sizes.most_common(shown))
    more = f", {len(sizes) - shown} other sizes" if len(sizes) > shown else ""
    return f"pictures before resizing, in pixels: {common}{more}" if sizes else ""


def make_source(
    config: ConfigDict, task: Task, processor: Processor, step: Layout | None = None, held: Layouts = whole,
    trainable: Check = lambda example: None,
) -> Source:
    """step: how a training batch lies on the rows of all processes, by default one row per prompt, all here.
    trainable: raises ValueError for a record that the algorithm cannot train on.
    held(n): the same for evaluation batches of n prompts."""
    build = folder_source if config.data.folder else generated_source
    mark = IMAGE_MARK if config.processor.images == "in_question" else None
    processor = replace(processor, nearest_pixels=config.processor.nearest_pixels, image_mark=mark)
    return build(config, task, processor, step or whole(config.train.prompts), held, trainable)
