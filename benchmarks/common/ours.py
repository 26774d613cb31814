"""Set-up of our side: the model, its allowed tokens and the prompts of the options. Import inside a pinned process."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common.options import Options
from common.problem import Question, encode, make_questions
from rrft_jax.config.defaults import base_config
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.protocol import Model
from rrft_jax.models.registry import make_model, read_config
from rrft_jax.models.vocabulary import allowed_tokens
from rrft_jax.models.weights import load_params
from rrft_jax.processing.processor import Processor, load_processor
from rrft_jax.rollout.decoder import Decoder


@dataclass(frozen=True)
class Ours:
    """allowed bool[V]: the tokens that may be sampled; stops: the EOS and padding ids as `sample` takes them."""

    model: Model
    params: dict
    processor: Processor
    allowed: np.ndarray
    questions: list[Question]

    def decoder(self, allowed: np.ndarray, length: int, **settings: Any) -> Decoder:
        """Completions of `length` tokens out of the allowed ones; settings: further fields of `Decoder`."""
        stops = {"eos_token_ids": self.processor.eos_token_ids, "pad_token_id": self.processor.pad_token_id}
        return Decoder(self.model, jnp.asarray(allowed), **{**stops, "length": length, **settings})

    def prompts(self) -> Prompts:
        """Pictures and texts to device arrays: part of every step."""
        return jax.tree.map(jnp.asarray, encode(self.processor, self.questions))


def load(options: Options) -> Ours:
    processor = load_processor(options.checkpoint)
    model = make_model(read_config(options.checkpoint), remat=base_config().model.remat)
    return Ours(
        model,
        jax.tree.map(jnp.asarray, load_params(options.checkpoint)),
        processor,
        allowed_tokens(model.config, processor.vocab_tokens, processor.eos_token_ids),
        make_questions(processor, options.prompts, options.images, options.size, options.text_tokens),
    )


def samplable(allowed: np.ndarray, eos_token_ids) -> np.ndarray:
    """bool[V]: the allowed tokens without EOS, for completions of a fixed length."""
    out = np.array(allowed)
    out[list(eos_token_ids)] = False
    return out
