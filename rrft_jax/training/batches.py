"""Host batches: this process's rows, encoded and padded, and held-out sets made when they are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import jax
import numpy as np

from rrft_jax.data.example import Example
from rrft_jax.data.index import Bucket
from rrft_jax.models.prompts import Prompts
from rrft_jax.parallel.layout import Layout
from rrft_jax.processing.buckets import collate
from rrft_jax.processing.chat import Prompt
from rrft_jax.processing.encoded import EncodedPrompt
from rrft_jax.processing.processor import Processor, encode_prompt

Layouts = Callable[[int], Layout]
PromptFn = Callable[[Example], str]  # the user's text with the question of an example
KEPT = 1 << 30  # bytes of held-out batches that a process keeps, of all sets; those beyond are made at each evaluation


@dataclass(frozen=True)
class HostBatch:
    """This process's r rows of one batch: r examples with the text they were asked, their padded Prompts (numpy),
    row_weight float32[r], 0 for rows that only fill the batch, and which rows of the whole batch they are."""

    examples: tuple[Example, ...]
    texts: tuple[str, ...]
    prompts: Prompts
    row_weight: np.ndarray
    layout: Layout


def make_batch(
    processor: Processor,
    prompt: Callable[[Example], Prompt],
    example: Callable[[int], Example],
    prompt_ids: Sequence[int] | np.ndarray,
    bucket: Bucket,
    layout: Layout,
) -> HostBatch:
    """Makes, encodes and pads this process's rows of a batch of len(prompt_ids) <= layout.prompts prompts.

    example(k): the k-th example of the batch, asked for once and only if a row of this process needs it. Rows beyond
    the prompts repeat them with weight 0.
    """
    count = len(prompt_ids)
    weight = (layout.prompt_of < count).astype(np.float32)
    numbers = layout.prompt_of % count
    examples = {k: example(k) for k in np.unique(numbers).tolist()}
    asked = {k: prompt(e) for k, e in examples.items()}
    encoded = {k: _encode(processor, asked[k], e) for k, e in examples.items()}
    each = lambda values: [values[k] for k in numbers.tolist()]  # noqa: E731
    names = [e.id for e in each(examples)]
    prompts = collate(each(encoded), each(prompt_ids), bucket, processor.pad_token_id, names)
    return HostBatch(tuple(each(examples)), tuple(map(str, each(asked))), prompts, weight, layout)


def whole_conversation(ask: PromptFn, example: Example, training: bool) -> Prompt:
    """The question as `ask` puts it, and all that was said before."""
    del training  # it is asked alike
    return Prompt(ask(example), example.history, example.system)


def _encode(processor: Processor, prompt: Prompt, example: Example) -> EncodedPrompt:
    try:
        return encode_prompt(processor, prompt.text, example.images, system=prompt.system, history=prompt.history)
    except OSError as error:  # which names the picture
        raise ValueError(f"example {example.id}: {error}") from error
    except ValueError as error:
        where = ", ".join(str(i) for i in example.images if isinstance(i, (str, Path)) or hasattr(i, "read"))
        raise ValueError(
            f"example {example.id}{f' ({where})' if where else ''}: {error}; replace the file or remove the record"
        ) from error


@runtime_checkable
class Batches(Protocol):
    """Batches by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> HostBatch: ...


@dataclass(frozen=True)
class _Made:
    """What each of `makers` returns, called when it is asked for; the first ones that `room` bytes hold are kept."""

    makers: tuple[Callable[[], HostBatch], ...]
    room: int
    kept: dict[int, HostBatch] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.makers)

    def __getitem__(self, index: int) -> HostBatch:
        index = range(len(self))[index]  # IndexError beyond the end, and counting from it
        if index in self.kept:
            return self.kept[index]
        made = self.makers[index]()
        if sum(map(_bytes, (made, *self.kept.values()))) <= self.room:
            self.kept[index] = made
        return made


def _bytes(batch: HostBatch) -> int:
    return sum(x.nbytes for x in jax.tree.leaves(batch.prompts))


def in_batches(
    processor: Processor,
    prompt: Callable[[Example], Prompt],
    example: Callable[[int], Example],
    buckets: Sequence[Bucket],
    layout: Layout,
    room: int,
) -> Batches:
    """Batches of one bucket each, the last of a bucket filled up. example(i) belongs into buckets[i]."""
    makers = []
    for bucket in dict.fromkeys(buckets):
        mine = [i for i, b in enumerate(buckets) if b == bucket]
        for low in range(0, len(mine), layout.prompts):
            ids = mine[low : low + layout.prompts]
            of = lambda k, ids=ids: example(ids[k])  # noqa: E731
            makers.append(partial(make_batch, processor, prompt, of, ids, bucket, layout))
    return _Made(tuple(makers), room)
