"""The compiled programs behind the server: one per shape and decoding setting, the least used one dropped."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np

from rrft_jax.models.prompts import Prompts
from rrft_jax.models.protocol import Model
from rrft_jax.processing.buckets import collate
from rrft_jax.processing.processor import Processor
from rrft_jax.rollout.decoder import Decoder, make_decoder
from rrft_jax.rollout.sampler import sample
from rrft_jax.rollout.stream import make_stream
from rrft_jax.serving.prepare import Work

_log = logging.getLogger(__name__)


class DecodePrograms:
    """Draws answers, for one thread at a time. Clients choose the decoding settings, each of which is a program of its
    own, so at most `max_programs` are kept."""

    def __init__(self, model: Model, params: dict, processor: Processor, max_programs: int = 64):
        self._params, self._processor, self._most = params, processor, max_programs
        self._decoder = make_decoder(model, processor, length=1)
        self._key = jax.random.key(0)
        self._kept: OrderedDict[tuple, Any] = OrderedDict()

    def batch(self, works: Sequence[Work]) -> list[np.ndarray]:
        """int32[n, length] tokens of each of several works of one shape; after its EOS a row is padding."""
        first = works[0]
        rows = 1 << (len(works) - 1).bit_length()
        prompts = self._prompts([*works, *[first] * (rows - len(works))])
        program = self._program((rows, *first.shape), lambda: self._compile(first, prompts))
        tokens = np.asarray(program(self._params, prompts, self._key).tokens)
        return [tokens[row, : work.n] for row, work in enumerate(works)]

    def stream(self, work: Work) -> Iterator[int]:
        """The tokens of one work with n = 1, those of `batch`, each as soon as it is drawn."""
        program = self._program((1, *work.shape), lambda: self._make_stream(work))
        return program(self._params, self._prompts([work]), self._key)

    def _prompts(self, works: Sequence[Work]) -> Prompts:
        numbers = [work.number for work in works]
        return collate([work.prompt for work in works], numbers, works[0].bucket, self._processor.pad_token_id)

    def _program(self, key: tuple, make: Callable[[], Any]) -> Any:
        if key not in self._kept:
            _log.info("new program for %s", key)
            self._kept[key] = make()
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _compile(self, work: Work, prompts: Prompts) -> Any:
        run = partial(sample, self._decoder_of(work), group=work.group)
        return jax.jit(run).lower(self._params, prompts, self._key).compile()

    def _make_stream(self, work: Work) -> Any:
        return make_stream(self._decoder_of(work))

    def _decoder_of(self, work: Work) -> Decoder:
        return replace(self._decoder, length=work.length, sampling=work.sampling)
