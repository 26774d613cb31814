"""Several updates on one batch of prompts: which prompts each update takes, and their rows as a batch of their own."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.parallel.layout import Layout
from rrft_jax.parallel.mesh import constrain
from rrft_jax.training.step import Batch

_ORDER = 0x0DDE


@dataclass(frozen=True)
class Minibatches:
    """count parts of the prompts of a batch, each taken once in every one of `epochs` passes over it.

    TRL's num_iterations and verl's ppo_epochs are `epochs`; verl's ppo_mini_batch_size is prompts / count.
    """

    count: int = 1
    epochs: int = 1

    @property
    def updates(self) -> int:
        """Updates per batch of prompts."""
        return self.count * self.epochs

    def prompts_of(self, seed: int, t: int, update: int, prompts: int) -> Int[np.ndarray, " part"]:
        """int64[prompts / count]: the prompts that update `update` of batch t takes; a function of its arguments alone,
        the same on every host and number of devices. Every pass has an order of its own."""
        epoch, part = divmod(update, self.count)
        size = prompts // self.count
        words = np.random.Philox(np.random.SeedSequence((_ORDER, seed, t, epoch))).random_raw(prompts)
        return np.argsort(words, kind="stable")[part * size : (part + 1) * size]


def padded(
    numbers: Int[np.ndarray, " part"], layout: Layout
) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    """(int32[R / split], float32[R / split]): `numbers` repeated until the layout's R rows are full, and 1 or 0 for
    what counts and what only fills the batch."""
    places = np.arange(layout.rows // layout.split)
    return numbers[places % len(numbers)].astype(np.int32), (places < len(numbers)).astype(np.float32)


def select(
    batch: Batch, numbers: Int[HostOrDevice, " rows"], weight: Float[HostOrDevice, " rows"], of: Layout, to: Layout
) -> Batch:
    """Prompts `numbers` of a batch that lies on rows as `of` says, as a batch on rows as `to` says; inside jit.

    numbers, weight: as `padded` gives them. A group is split over as many rows as `to` wants.
    """

    def prompt(x: Shaped[Array, "rows ..."]) -> Shaped[Array, "selected ..."]:
        return _on_rows(jnp.repeat(x[numbers * of.split], to.split, 0))

    def completions(x: Shaped[Array, "rows members *rest"]) -> Shaped[Array, "selected split *rest"]:
        whole = x.reshape(x.shape[0] // of.split, of.split * x.shape[1], *x.shape[2:])[numbers]
        return _on_rows(whole.reshape(to.rows, whole.shape[1] // to.split, *whole.shape[2:]))

    prompts = jax.tree.map(prompt, batch.prompts)
    rest = jax.tree.map(completions, (batch.tokens, batch.token_mask, batch.targets))
    tokens, token_mask, targets = rest
    kept = targets.row_weight * jnp.repeat(weight, to.split)[:, None]
    return Batch(prompts, tokens, token_mask, replace(targets, row_weight=kept))


def _on_rows(x: jax.Array) -> jax.Array:
    return constrain(x, "batch", *[None] * (x.ndim - 1))
