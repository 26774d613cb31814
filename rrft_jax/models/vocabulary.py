"""The allowed-token mask: which tokens a completion may hold, for the sampler and the scorer alike."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool

from rrft_jax.models.protocol import Sizes


def allowed_tokens(config: Sizes, known_tokens: int, eos_token_ids: Iterable[int]) -> Bool[np.ndarray, " V"]:
    """Which tokens: no image, video or vision tokens, no embedding rows beyond the tokenizer; EOS tokens always.

    known_tokens: how many ids the tokenizer knows (embedding rows may exceed it).
    """
    eos = list(eos_token_ids)
    if not eos or max(eos) >= config.vocab_size:
        raise ValueError(f"eos_token_ids {eos} must name at least one id below vocab_size {config.vocab_size}")
    allowed = np.arange(config.vocab_size) < known_tokens
    allowed[list(config.visual_token_ids)] = False
    allowed[eos] = True
    return allowed
