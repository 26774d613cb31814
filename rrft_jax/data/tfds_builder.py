"""A source's parts as a tensorflow-datasets data set of ArrayRecord files, written without TensorFlow.

One builder serves every source: DATA_DIR/<source>/<task>/1.0.0. It writes shards of consecutive records rather than let
tensorflow-datasets shuffle: its shuffler needs TensorFlow beyond 1000 MiB a split, and the order of training is ours.

A picture that several records of a split show is stored with the first of them: `image_rows` and `image_places` say for
each picture of a record which row of the split holds it, at which place of its `images`. `prepared` says what lies
next to the data set.
"""

import contextlib
import dataclasses
import functools
import hashlib
import io
import itertools
import json
import os
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from rrft_jax.data.encoded_image import EncodedImage, encode_image
from rrft_jax.data.example import Example
from rrft_jax.data.pictures import picture_key
from rrft_jax.data.prepared import PICTURES, SKIPPED, listing_file
from rrft_jax.data.records import Problem, RecordError, list_problems
from rrft_jax.data.sources.common import Item, Part
from rrft_jax.data.sources.registry import DataSource

Tick = Callable[[int], Any]
VERSION = "1.0.0"
# tensorflow-datasets holds a shard's examples while it writes them: 256 of two pictures of 100 KB are 50 MB.
SHARD = 256
THREADS = min(16, os.cpu_count() or 1)  # that encode pictures
Shard = Callable[[], Iterator[tuple[int, dict]]]  # yields each row with its number


@dataclass(frozen=True)
class Stored:
    """Where a picture of a split is."""

    row: int
    place: int
    key: str
    height: int
    width: int


class Store:
    """Rows of one split from examples, each picture encoded and stored once."""

    def __init__(self, pool: ThreadPoolExecutor, root: str = ""):
        """pool: encodes pictures. root: what is taken off the front of their names."""
        self._pool, self._root = pool, root
        self._stored: dict[str, Stored] = {}  # by the picture's place in the source
        self._encoded: dict[str, Future[EncodedImage]] = {}  # those that are not stored yet

    def ahead(self, items: Iterable[Item]) -> Iterator[Item]:
        """The same items, while the pictures of the next ones are being encoded."""
        waiting: deque[Item] = deque()
        for item in items:
            for image in item.images if isinstance(item, Example) else ():
                key = picture_key(image)
                if key not in self._stored and key not in self._encoded:
                    self._encoded[key] = self._pool.submit(encode_image, image)
            waiting.append(item)
            if len(waiting) > 2 * THREADS:
                yield waiting.popleft()
        yield from waiting

    def row(self, example: Example, number: int) -> dict[str, Any] | tuple[Problem, ...]:
        """The features of an example from `ahead` that will be row `number`, or what is wrong with its pictures."""
        new: dict[str, Stored] = {}
        data: list[io.BytesIO] = []
        problems = []
        keys = [picture_key(image) for image in example.images]
        for key in keys:
            if key in self._stored or key in new:
                continue
            try:
                encoded = self._encoded[key].result()
            except OSError as error:
                record = f"record {example.metadata['record']} (id {example.id!r})"
                problems.append(Problem(example.metadata["file"], record, "unreadable image", str(error)))
                continue
            digest = hashlib.sha256(encoded.data).hexdigest()[:16]
            new[key] = Stored(number, len(data), digest, encoded.height, encoded.width)
            data.append(io.BytesIO(encoded.data))
        if problems:
            return tuple(problems)
        self._stored |= new
        for key in new:
            del self._encoded[key]
        pictures = [self._stored[key] for key in keys]
        return {
            "id": example.id,
            "task": example.task,
            "problem": example.problem,
            "answer": example.answer,
            "cot": example.cot or "",
            "system": example.system or "",
            "history": json.dumps(example.history) if example.history else "",
            "reply": example.reply or "",
            "metadata": json.dumps(dict(example.metadata), default=str),
            PICTURES: data,
            "image_names": [str(image).removeprefix(self._root) for image in example.images],
            "image_keys": [picture.key for picture in pictures],
            "image_rows": [picture.row for picture in pictures],
            "image_places": [picture.place for picture in pictures],
            "heights": [picture.height for picture in pictures],
            "widths": [picture.width for picture in pictures],
        }


class Builder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """The data set of one source and task."""

    VERSION = tfds.core.Version(VERSION)
    url_infos: dict = {}  # nothing is downloaded; looking for checksums would need a package that tfds does not ask for

    def __init__(
        self, source: DataSource, parts: Sequence[Part], data_dir: str | Path, root: str | Path,
        tick: Tick = lambda n: None,
    ):
        """parts: all of one task, each a split. root: names of pictures start here. tick(1): a record is read."""
        self.name = source.name
        self._source, self._parts, self._tick = source, tuple(parts), tick
        self._root = f"{Path(root).expanduser()}/"
        self.problems: list[tuple[str, Problem]] = []  # with the split it is missing from, "" for a whole file
        self.written: Counter[str] = Counter()
        self._items: dict[str, Iterator[Item]] = {}
        config = tfds.core.BuilderConfig(name=parts[0].task, description=source.about)
        super().__init__(data_dir=str(data_dir), config=config, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        text, texts = tfds.features.Text(), tfds.features.Sequence(tfds.features.Text())
        numbers = tfds.features.Sequence(np.int32)
        names = ("id", "task", "problem", "answer", "cot", "system", "history", "reply", "metadata")
        features: dict[str, Any] = {name: text for name in names}
        features |= {PICTURES: tfds.features.Sequence(tfds.features.Image(shape=(None, None, 3)))}
        features |= {"image_names": texts, "image_keys": texts}
        features |= {name: numbers for name in ("image_rows", "image_places", "heights", "widths")}
        return tfds.core.DatasetInfo(
            builder=self,
            description=self._source.about,
            homepage=self._source.homepage or None,
            license=self._source.licence,
            citation=self._source.citation or None,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        with ThreadPoolExecutor(THREADS) as self._pool:
            super()._download_and_prepare(dl_manager, download_config)
        unread = [split for split, items in self._items.items() if next(items, None) is not None]
        if unread:
            raise RecordError(f"{', '.join(unread)} of {self.name} grew while it was read; start again")
        empty = [part.split for part in self._parts if not self.written[part.split]]
        if empty:
            said = list_problems([problem for _, problem in self.problems], 20)
            message = f"no usable record for {', '.join(empty)} of {self.name}; correct it or name other splits"
            raise RecordError(f"{message}:\n{said}")
        lines = [{"split": split} | dataclasses.asdict(problem) for split, problem in self.problems]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (Path(self.data_path) / SKIPPED).write_text(text, encoding="utf-8")

    def _shard_iterators_per_split(self, dl_manager: Any) -> dict[str, list[Shard]]:
        # tensorflow-datasets calls a split's shards in their order: they share one pass over its records.
        shards: dict[str, list[Shard]] = {}
        for part in self._parts:
            store = Store(self._pool, self._root)
            self._items[part.split] = items = store.ahead(part.items())
            shard = functools.partial(self._examples, part.split, items, store)
            shards[part.split] = [shard] * max(1, -(-part.count // SHARD))
        return shards

    def _examples(self, split: str, items: Iterator[Item], store: Store) -> Iterator[tuple[int, dict]]:
        # data_path is the incomplete folder here: lists appear together with the data.
        with listing_file(self.data_path, split).open("a", encoding="utf-8") as listed:
            for number, item in enumerate(itertools.islice(items, SHARD)):
                self._tick(1)
                row = store.row(item, self.written[split]) if isinstance(item, Example) else item
                if isinstance(row, dict):
                    self.written[split] += 1
                    listed.write(json.dumps({name: row[name] for name in row if name != PICTURES}) + "\n")
                    yield number, row
                else:
                    self.problems += ((split, problem) for problem in row)


def build(
    source: DataSource,
    parts: Sequence[Part],
    data_dir: str | Path,
    root: str | Path,
    tick: Tick = lambda n: None,
    told: Sequence[Problem] = (),
    overwrite: bool = False,
) -> tuple[Path, Counter[str], list[Problem]]:
    """Writes the parts, all of one task, and returns where, how many examples each split got, and what was left out.

    root: the folder the source was read from; names of pictures are stored relative to it. told: problems of whole
    files, to be kept with the others in skipped.jsonl. The data set's folder appears only when it is complete.
    Raises RecordError where a split has no usable record.
    """
    builder = Builder(source, parts, data_dir, root, tick)
    builder.problems += (("", problem) for problem in told)
    where = Path(builder.data_dir)
    mode = tfds.GenerateMode.REUSE_CACHE_IF_EXISTS if overwrite else tfds.GenerateMode.REUSE_DATASET_IF_EXISTS
    # Nothing is downloaded, though a folder is made for it and standard output says so.
    with tempfile.TemporaryDirectory() as unused, contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(
            download_dir=unused, download_config=tfds.download.DownloadConfig(download_mode=mode)
        )
    return where, builder.written, [problem for _, problem in builder.problems]


def place(source: DataSource, task: str, data_dir: str | Path, splits: Sequence[str]) -> Path | None:
    """Where the source's task is prepared already, or None. Raises FileExistsError where it lacks one of the splits."""
    where = Path(data_dir) / source.name / task / VERSION
    if not where.exists():
        return None
    there = tfds.builder_from_directory(str(where)).info.splits
    missing = [split for split in splits if split not in there]
    if missing:
        message = f"{where} is there already but holds {', '.join(there)} only, not {', '.join(missing)}"
        raise FileExistsError(f"{message}: give another --data_dir, or make all anew with --overwrite")
    return where


def check(parts: Sequence[Part], tick: Tick = lambda n: None) -> list[Problem]:
    """Everything that `build` would leave out, without writing: pictures are decoded too."""
    problems: list[Problem] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for part in parts:
            store = Store(pool)
            for number, item in enumerate(store.ahead(part.items())):
                tick(1)
                row = store.row(item, number) if isinstance(item, Example) else item
                problems += [] if isinstance(row, dict) else row
    return problems
