"""The one vocabulary law: which tokens a completion may hold, for the sampler and the scorer alike."""

from collections.abc import Iterable

import numpy as np

from rrft_jax.models.qwen2_vl.config import Qwen2VLConfig


def allowed_tokens(config: Qwen2VLConfig, known_tokens: int, eos_token_ids: Iterable[int]) -> np.ndarray:
    """bool[V]: no image, video or vision tokens, no embedding rows beyond the tokenizer; EOS tokens always.

    known_tokens: how many ids the tokenizer knows (embedding rows may exceed it).
    """
    eos = list(eos_token_ids)
    if not eos or max(eos) >= config.vocab_size:
        raise ValueError(f"eos_token_ids {eos} must name at least one id below vocab_size {config.vocab_size}")
    allowed = np.arange(config.vocab_size) < known_tokens
    visual = [config.image_token_id, config.video_token_id, config.vision_start_token_id, config.vision_end_token_id]
    # <|vision_pad|> lies between vision_end and image_pad in every Qwen2-VL vocabulary and has no config field.
    visual += range(config.vision_end_token_id + 1, config.image_token_id)
    allowed[visual] = False
    allowed[eos] = True
    return allowed
