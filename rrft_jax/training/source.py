"""Where batches come from: generated scenes or records of a folder, each batch a pure function of its number."""

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from ml_collections import ConfigDict

from rrft_jax.config.groups import Data, read
from rrft_jax.data.decoding import image_size
from rrft_jax.data.example import IMAGE_MARK, Example
from rrft_jax.data.folder import read_folder
from rrft_jax.data.index import Bucket, Index, build_index, enclosing
from rrft_jax.data.instances import Counts, left_out, read_counts
from rrft_jax.data.order import batch_ids, epochs_passed
from rrft_jax.data.records import RecordError
from rrft_jax.data.subset import chosen, generated_number, hold_out, usable
from rrft_jax.parallel.layout import Layout, one_row_each
from rrft_jax.processing.buckets import Buckets
from rrft_jax.processing.chat import Prompt
from rrft_jax.processing.encoded import Size
from rrft_jax.processing.processor import Processor, measure
from rrft_jax.processing.proposal import filled, propose
from rrft_jax.tasks.records import taken
from rrft_jax.tasks.task import Task
from rrft_jax.training.batches import (
    KEPT,
    Batches,
    HostBatch,
    Layouts,
    PromptFn,
    in_batches,
    make_batch,
    whole_conversation,
)
from rrft_jax.training.exchanged import exchanged_batch

Check = Callable[[Example], object]

MUCH = 0.3  # share of padding from which the log mentions it
_AXES = {"prompt": "prompt_tokens", "images": "images", "patches": "patches"}  # field of the config -> of a Bucket

@dataclass(frozen=True)
class Source:
    """Training batches by number, held-out sets by name, and a report about them for the user.

    held_out: batches that are made when they are asked for; as many as KEPT has room for are kept.
    pick(numbers): a batch of the prompts at these places of the order, in which batch t has t * B ... t * B + B - 1.
    epochs(t): how often the first t batches have been through the records; None where scenes are generated without end.
    examples(): the training examples of one pass in a fixed order; None where they never end.
    """

    fetch: Callable[[int], HostBatch]
    pick: Callable[[Sequence[int]], HostBatch]
    held_out: dict[str, Batches]
    sizes: tuple[Size, ...]
    report: str
    buckets: tuple[Bucket, ...] = ()  # the shapes of its batches
    skipped: tuple[dict[str, str], ...] = ()  # records that are left out, each with why
    records: int = 0  # training examples of one pass; 0: they never end
    epochs: Callable[[int], float] | None = None
    exchanged: Callable[[], HostBatch | None] | None = None  # the first held-out batch with pictures exchanged
    examples: Callable[[], Sequence[Example]] | None = None
    digest: str = ""  # of the examples, as `digest_of` has it: equal for runs on equal data


def generated_source(
    config: ConfigDict, task: Task, processor: Processor, step: Layout, held: Layouts,
    counts: Mapping[str, Counts] | None,
) -> Source:  # fmt: skip
    """Scenes rendered on the fly; held out: fixed scenes of each domain, of another split."""
    make = task.make
    if make is None:
        raise ValueError(f"task {task.name} makes no examples: set config.data.folder to a folder of records")
    buckets = Buckets(**config.buckets)
    probe = [make(config.seed, i, "train", "in") for i in range(64)]
    ask = task.prompt_fn(config.prompt, marks=processor.image_mark is not None)
    sizes = [measure(processor, ask(e), [image_size(i) for i in e.images], e.system, e.history) for e in probe]
    prompt = lambda e: whole_conversation(ask, e, True)  # noqa: E731
    largest = Size(max(s.prompt_tokens for s in sizes), max((s.patches for s in sizes), key=sum))
    bucket = buckets.choose(largest, f"{task.name}, generated")
    B = config.train.prompts

    start, stop = config.data.range
    train = lambda number: make(config.seed, number, "train", "in")  # noqa: E731
    names = {train(number).id: number for number in range(start, stop)} if counts is not None else {}
    dropped = _filtered(config, names, counts)
    kept = [number for name, number in names.items() if name not in dropped]

    def pick(ids: Sequence[int]) -> HostBatch:
        number = lambda place: kept[place % len(kept)] if kept else generated_number(place, start, stop)  # noqa: E731
        example = lambda k: train(number(ids[k]))  # noqa: E731
        return make_batch(processor, prompt, example, ids, bucket, step)

    def fetch(t: int) -> HostBatch:
        return pick(range(t * B, (t + 1) * B))

    room = KEPT // max(len(task.held_out), 1)

    def held_out(domain: str) -> Batches:
        # The seed of the run does not choose the questions that runs are compared on.
        buckets = [bucket] * config.eval.examples
        layout = held(config.eval.batch)
        return in_batches(processor, prompt, lambda i: make(0, i, "val", domain), buckets, layout, room)

    sets = {name: held_out(of.domain) for name, of in task.held_out.items()} if config.eval.examples else {}
    exchanged = None
    if sets:
        domain = next(iter(task.held_out.values())).domain
        exchanged = cache(partial(
            exchanged_batch, processor, prompt, lambda i: make(0, i, "val", domain), [bucket] * config.eval.examples,
            held(config.eval.batch),
        ))  # fmt: skip
    report = f"{task.name}: scenes rendered on the fly, seed {config.seed}"
    if kept:
        report += f"\n{_kept(len(kept), len(names))}"
    records, digest = len(kept) or max(stop - start, 0), digest_of(probe)
    every = (lambda: [train(number) for number in kept or range(start, stop)]) if stop else None
    return Source(
        fetch, pick, sets, tuple(sizes), report, (bucket,), _as_skipped(dropped), records, exchanged=exchanged,
        examples=every, digest=digest,
    )  # fmt: skip


def folder_source(
    config: ConfigDict, task: Task, processor: Processor, step: Layout, held: Layouts, trainable: Check,
    asked: Callable[[PromptFn, Example, bool], Prompt], longest: int, counts: Mapping[str, Counts] | None,
) -> Source:
    """The records of `data.folder.read_folder`; those of a share of the pictures are held out.

    Raises RecordError under config.data.strict for a record that would be skipped as bad; too long is not bad.
    """
    data = config.data
    records = read_folder(data.folder, task.name, data.split, data.image_root, data.strict, columns=data.columns)
    examples, refused = taken(task, records.examples)
    ask = task.prompt_fn(config.prompt, real=True, marks=processor.image_mark is not None)
    pixels: Counter[tuple[int, int]] = Counter()

    numbers = _shared_out(examples, read(config, "data"), config.eval.examples)
    held_ids = {examples[n].id for n in numbers[0].tolist()}
    prompt = lambda example: asked(ask, example, example.id not in held_ids)  # noqa: E731

    def measured(prompt: Prompt, image_sizes: list[tuple[int, int]]) -> Size:
        pixels.update(image_sizes)
        return measure(processor, prompt.text, image_sizes, prompt.system, prompt.history)

    names = [name for n in numbers[1].tolist() if (name := examples[n].id) not in refused]
    dropped = _filtered(config, names, counts)

    def check(example: Example) -> None:
        if example.id in refused:
            raise ValueError(refused[example.id])
        trainable(example)

    buckets = Buckets(**config.buckets)
    shapes = (lambda sizes: propose(sizes, buckets, longest)) if buckets.auto else buckets.shapes
    index = build_index([e for e in examples if e.id not in dropped], prompt, measured, shapes, check)
    unreadable = [s for s in index.skipped if s.kind == "unreadable image"]
    if data.strict and unreadable:
        raise RecordError("\n  ".join([f"{len(unreadable)} unreadable:", *(f"{s.id}: {s.reason}" for s in unreadable)]))
    out, part = (usable(examples, index.examples, n) for n in numbers)
    if not len(part):
        raise RecordError(f"none of the records to train on can be used\n{index.report()}")
    groups = [np.intersect1d(group, part) for group in index.groups]

    def fetch(t: int) -> HostBatch:
        ids = batch_ids(groups, config.seed, t, config.train.prompts)
        bucket = index.buckets[ids.bucket]
        return make_batch(processor, prompt, lambda k: index.examples[ids.indices[k]], ids.prompt_ids, bucket, step)

    def pick(numbers: Sequence[int]) -> HostBatch:
        B = config.train.prompts
        found = [(batch_ids(groups, config.seed, n // B, B), n % B) for n in numbers]
        bucket = enclosing([index.buckets[ids.bucket] for ids, _ in found])
        example = lambda k: index.examples[found[k][0].indices[found[k][1]]]  # noqa: E731
        return make_batch(processor, prompt, example, [int(i.prompt_ids[k]) for i, k in found], bucket, step)

    sets, exchanged = {}, None
    if len(out):
        of_each = [index.buckets[index.bucket_ids[i]] for i in out]
        layout = held(min(config.eval.batch, len(out)))
        made = processor, prompt, lambda i: index.examples[out[i]], of_each, layout
        sets["eval"], exchanged = in_batches(*made, KEPT), cache(partial(exchanged_batch, *made))
    lines = [records.report(), index.report(), _padding(index, buckets), _pixels(pixels)]
    if counts is not None:
        lines.append(_kept(len(names) - len(dropped), len(names)))
    if talks := sum(bool(example.history) for example in index.examples):
        lines.append(f"{talks} of {len(index.examples)} records are conversations of several turns")
    lines.append(f"{len(out)} of {len(index.examples)} records held out for evaluation, with their pictures")
    if config.init == "nano":
        height, width = task.image_size
        lines.append(
            f"note: nano has only seen rendered scenes of {width}x{height} pixels. Expect low scores on these records: "
            "what this shows is that real data goes through the whole path"
        )
    skipped = (
        *_as_skipped(dropped),
        *({"file": p.file, "record": p.record, "kind": p.kind, "reason": p.message} for p in records.problems),
        *({"record": s.id, "kind": s.kind, "reason": s.reason} for s in index.skipped),
    )
    training = len(index.examples) - len(out)
    if len(part) < training:
        lines.append(f"{len(part)} of the {training} training records are used: config.data.range={data.range}")
    sizes = [len(group) for group in groups]
    epochs = lambda t: epochs_passed(sizes, t, config.train.prompts)  # noqa: E731
    every = lambda: [index.examples[n] for n in part.tolist()]  # noqa: E731
    used = tuple(bucket for bucket, group in zip(index.buckets, index.groups, strict=True) if len(group))
    text, digest = "\n".join(filter(None, lines)), digest_of(index.examples[n] for n in [*part.tolist(), *out.tolist()])
    return Source(fetch, pick, sets, index.sizes, text, used, skipped, len(part), epochs, exchanged, every, digest)


def _filtered(config: ConfigDict, names: Collection[str], counts: Mapping[str, Counts] | None) -> dict[str, str]:
    """Of the examples to train on those that the filter leaves out, each with the reason."""
    if counts is None:
        return {}
    data = config.data
    name = f"filter={data.filter}" if data.filter else f"filter_rollouts={data.filter_rollouts}"
    return left_out(names, counts, data.filter_always_right, f"config.data.{name}")


def _as_skipped(dropped: Mapping[str, str]) -> tuple[dict[str, str], ...]:
    return tuple({"record": name, "kind": "filter", "reason": reason} for name, reason in dropped.items())


def _kept(kept: int, count: int) -> str:
    return f"the filter keeps {kept} of the {count} examples to train on (skipped.jsonl lists the others)"


def digest_of(examples: Iterable[Example]) -> str:
    """A digest of questions, answers and reasoning in their order, and of pixels where they are there and not files."""
    found = hashlib.sha256()
    for e in examples:
        found.update(repr((e.id, e.problem, e.answer, e.cot, e.system, e.history, e.reply, len(e.images))).encode())
        for image in e.images:
            if hasattr(image, "tobytes"):
                found.update(image.tobytes())
    return found.hexdigest()[:16]


def _shared_out(examples: Sequence[Example], data: Data, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers int64[K] of the records held out, `most` of them at the most, and of those to train on.

    Of all records, before any is left out as too long or without a target: the stages of a recipe leave out different
    ones, and must agree on which records each of them has.
    """
    out = hold_out(examples, min(round(len(examples) * data.held_out), most))
    training = np.setdiff1d(np.arange(len(examples)), out)
    return out, training[chosen(len(training), *data.range)]


def _padding(index: Index, buckets: Buckets) -> str:
    """How much of the rows of the buckets is padding, and how to change it where it is much."""
    padding = 1 - filled(index.sizes, [index.buckets[k] for k in index.bucket_ids])
    if buckets.auto:
        lists = {name: sorted({getattr(b, field) for b in index.buckets}) for name, field in _AXES.items()}
        flags = " ".join(f"--config.buckets.{name}={','.join(map(str, values))}" for name, values in lists.items())
        return f"buckets were chosen from the data, with {padding:.0%} padding; to fix them: {flags}"
    if padding < MUCH:
        return ""
    auto = " ".join(f"--config.buckets.{name}=auto" for name in _AXES)
    return f"note: {padding:.0%} of the rows of these buckets is padding; {auto} chooses them from the data"


def _pixels(sizes: Counter, shown: int = 4) -> str:
    """The sizes of the records' pictures as they are on disk, the most frequent first."""
    common = ", ".join(f"{width}x{height} ({n} times)" for (height, width), n in sizes.most_common(shown))
    more = f", {len(sizes) - shown} other sizes" if len(sizes) > shown else ""
    return f"pictures before resizing, in pixels: {common}{more}" if sizes else ""


def make_source(
    config: ConfigDict, task: Task, processor: Processor, step: Layout | None = None, held: Layouts = one_row_each,
    trainable: Check = lambda example: None, asked: Callable[[PromptFn, Example, bool], Prompt] = whole_conversation,
    longest: int = sys.maxsize, counts: Mapping[str, Counts] | None = None,
) -> Source:
    """step: how a training batch lies on the rows of all processes, by default one row per prompt, all here.
    held(n): the same for evaluation batches of n prompts. trainable: raises ValueError for a record that the algorithm
    cannot train on. asked: as `Algorithm.prompt` returns it. longest: tokens of a prompt where buckets are "auto".
    counts: of the filter, by the example's id; None: those of config.data.filter, if any."""
    Buckets(**config.buckets).check_merged(processor.merge_size**2)
    if counts is None and config.data.filter:
        counts = read_counts(config.data.filter)
    common = config, task, as_configured(processor, config), step or one_row_each(config.train.prompts), held
    if config.data.folder:
        return folder_source(*common, trainable, asked, longest, counts)
    return generated_source(*common, counts)


def as_configured(processor: Processor, config: ConfigDict) -> Processor:
    """The processor with config.processor's way of reducing and placing pictures."""
    mark = IMAGE_MARK if config.processor.images == "in_question" else None
    return replace(processor, nearest_pixels=config.processor.nearest_pixels, image_mark=mark)
