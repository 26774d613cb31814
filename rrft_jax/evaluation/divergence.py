"""How far a policy has moved from another one: KL(policy || base) on the policy's own answers."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from rrft_jax.evaluation.questions import Question
from rrft_jax.losses.kl import k3
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.protocol import Model
from rrft_jax.models.score import score
from rrft_jax.parallel.layout import plan
from rrft_jax.parallel.placement import to_devices
from rrft_jax.processing.processor import Processor
from rrft_jax.rollout.answering import collated, question_batches
from rrft_jax.rollout.compaction import EVALUATION
from rrft_jax.rollout.decoder import make_decoder
from rrft_jax.rollout.sampler import sample


class Divergence(NamedTuple):
    """Nats per answer: the mean over the questions and its standard error; per_token: over all tokens together."""

    mean: float
    stderr: float
    per_token: float


def make_divergence(
    model: Model, processor: Processor, mesh: Mesh, max_new_tokens: int, batch: int = 32, seed: int = 0
) -> Callable[[dict, dict, Sequence[Question]], Divergence]:
    """f(params, base, questions): KL(policy || base) of whole answers, drawn from the policy at temperature 1 over the
    allowed tokens.

    params, base: parameters of `model` on the mesh. One answer to each question: the sum over its tokens of the k3
    estimator (`losses.kl`), which is unbiased and never negative. One process. f raises ValueError for no questions,
    and for one that leaves no room for its answer.
    """
    decoder = make_decoder(model, processor, max_new_tokens, compact=EVALUATION)
    layout = plan(mesh, batch)

    @jax.jit
    def measure(params: dict, base: dict, prompts: Prompts) -> tuple[jax.Array, jax.Array]:
        drawn = sample(decoder, params, prompts, jax.random.key(seed), 1)
        policy, reference = (
            score(model, weights, prompts, drawn.tokens, drawn.mask, decoder.allowed)[0] for weights in (params, base)
        )
        return jnp.where(drawn.mask, k3(policy, reference), 0.0).sum(-1).mean(-1), drawn.mask.sum(-1).mean(-1)

    def divergence(params: dict, base: dict, questions: Sequence[Question]) -> Divergence:
        if not questions:
            raise ValueError("KL(policy || base) needs at least one question")
        nats, tokens = [], []
        positions = model.config.max_position_embeddings
        for bucket, chunk in question_batches(processor, positions, max_new_tokens, questions, batch):
            prompts = collated(processor, bucket, [chunk[i % len(chunk)] for i in layout.prompt_of.tolist()])
            found = measure(params, base, to_devices(prompts, mesh))
            for kept, values in zip((nats, tokens), found, strict=True):
                kept += np.asarray(values)[: len(chunk)].tolist()
        spread = float(np.std(nats, ddof=1)) if len(nats) > 1 else math.nan
        return Divergence(float(np.mean(nats)), spread / math.sqrt(len(nats)), float(np.sum(nats) / np.sum(tokens)))

    return divergence
