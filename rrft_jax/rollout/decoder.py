"""How completions are drawn from a model: everything that stays the same from one batch of prompts to the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Bool

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.protocol import Model
from rrft_jax.models.vocabulary import allowed_tokens
from rrft_jax.rollout.sampling import Sampling


@runtime_checkable
class Vocabulary(Protocol):
    """What a sampler asks of a tokenizer: a `processing.processor.Processor`, or facts in place of one."""

    @property
    def vocab_tokens(self) -> int: ...
    @property
    def eos_token_ids(self) -> Sequence[int]: ...
    @property
    def pad_token_id(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Decoder:
    """A model with the tokens it may say, the tokens that end an answer, and the settings of the sampler.

    allowed: tokens that may be drawn; None: all of them. length: tokens of a completion at most; the loop ends
    as soon as every member has drawn an EOS. stop_at_eos=False runs to `length` (benchmarks).
    compact: as soon as the unfinished members fit into a batch so many times smaller, they are drawn in one, down to
    a single row; 0 never. The tokens are the same up to rounding, since every draw is addressed. Each size is a loop of
    its own in the program; a smaller batch copies the prompt's cache for each of its rows.
    cache_parts: the cache of the completions grows in so many steps, each a loop of its own, and attention reads no
    more than the part that is there. The tokens are the same up to rounding.
    greedy_member: the member of every group that takes the most likely token instead of a drawn one (ReMax's baseline).
    """

    model: Model
    allowed: Bool[HostOrDevice, " V"] | None
    eos_token_ids: tuple[int, ...]
    pad_token_id: int
    length: int
    sampling: Sampling = Sampling()
    compact: int = 0
    cache_parts: int = 1
    stop_at_eos: bool = True
    greedy_member: int | None = None


def make_decoder(model: Model, vocabulary: Vocabulary, length: int, **settings: Any) -> Decoder:
    """The decoder whose allowed tokens follow from the vocabulary: no image, video or vision tokens, no rows beyond the
    tokenizer. settings: further fields of `Decoder`."""
    allowed = allowed_tokens(model.config, vocabulary.vocab_tokens, vocabulary.eos_token_ids)
    eos = tuple(vocabulary.eos_token_ids)
    return Decoder(model, jnp.asarray(allowed), eos, vocabulary.pad_token_id, length, **settings)
