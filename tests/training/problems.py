"""What the train-step tests share: batches with empty rows, a forward pass of few operations, and one real gradient."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from rrft_jax.losses import GRPOLoss, Scores, Targets, grpo_loss, sft_loss
from rrft_jax.training.parameters import combine
from rrft_jax.training.step import Batch, make_forward, make_gradient
from tests.helpers.rounding import rounding
from tests.models.build import quick_jit, random_prompts, select_prompts
from tests.rollout.reference import ALLOWED, MODEL, random_params

ROWS, GROUP, LENGTH = 8, 2, 5
EMPTY = (2, 6)  # rows of weight 0: dealt out in four parts, they are one whole micro-batch

GRPO = GRPOLoss(
    surrogate="clipped", beta=0.04, kl_ratio_correction=True, entropy_coefficient=0.01, max_completion_length=LENGTH
)


def example_batch(old=True, seed=0):
    """Batch of NumPy arrays: B = 8, G = 2, C = 5; two empty rows, and one row with an empty member."""
    rng = np.random.default_rng(seed)
    shape = (ROWS, GROUP, LENGTH)
    lengths = rng.integers(1, LENGTH + 1, shape[:2])
    lengths[0, 0] = LENGTH
    mask = np.arange(LENGTH) < lengths[..., None]
    weight = np.ones(shape[:2], np.float32)
    weight[list(EMPTY)] = 0
    weight[5, 1] = 0
    random = lambda mean, std: rng.normal(mean, std, shape).astype(np.float32)  # noqa: E731
    targets = Targets(
        loss_mask=mask,
        row_weight=weight,
        advantages=rng.normal(size=shape[:2]).astype(np.float32),
        old_log_probs=random(-4, 0.5) if old else None,
        ref_log_probs=random(-4, 0.5),
    )
    prompts = select_prompts(random_prompts(seed), [0, 1, 2, 0, 1, 2, 0, 1])
    return Batch(prompts, rng.integers(0, 50, shape).astype(np.int32), mask, targets)


def toy_params(seed=0, vocabulary=61):
    rng = np.random.default_rng(seed)
    normal = lambda *shape: rng.normal(0, 0.5, shape).astype(np.float32)  # noqa: E731
    return {"embed": {"embedding": normal(vocabulary)}, "out": {"kernel": normal(2, 3), "bias": normal(3)}}


def toy_forward(trainable, frozen, batch):
    """No model, but it reads what a micro-batch must carry, positions [B, 3, P] too, and compiles quickly."""
    params = combine(trainable, frozen)
    table, out, prompts = params["embed"]["embedding"], params["out"], batch.prompts
    seen = jnp.where(prompts.token_mask, jnp.cos(prompts.positions.sum(1)), 0)
    state = (table[prompts.tokens] * seen).sum(1)[:, None, None]  # [B, 1, 1]
    word = table[batch.tokens]
    a, b, c = (state * out["kernel"][0, i] + word * out["kernel"][1, i] + out["bias"][i] for i in range(3))
    return Scores(-jnp.exp(a) - 3 + b, jnp.square(c))


def both_losses(scores, targets):
    """GRPO and SFT at once: four terms with their own weights, from one forward pass."""
    grpo, sft = grpo_loss(scores, targets, GRPO), sft_loss(scores, targets)
    return {**grpo[0], **sft[0]}, {**grpo[1], **sft[1]}


def real_gradient(micro_batches=1):
    """gradient(trainable, frozen, batch) of both losses through the tiny Qwen2-VL."""
    return make_gradient(make_forward(MODEL, jnp.asarray(ALLOWED), chunk=2), both_losses, micro_batches)


@cache
def whole_gradient():
    """(loss, metrics, gradient) of `example_batch` on one device in one piece, NumPy arrays; their `rounding`."""
    f, inputs = quick_jit(real_gradient()), (random_params(), {}, example_batch())
    return jax.tree.map(np.asarray, f(*inputs)), rounding(f, *inputs)
