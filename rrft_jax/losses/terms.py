"""What a loss takes and gives: scores and targets in, sums with their weights out.

A loss is the sum over terms of coefficient * sum / weight. Sums and weights are kept apart until the whole batch has
been seen, so parts of a batch (micro-batches, devices, hosts) add up to exactly the loss of the whole.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.losses.masked import safe_divide


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Scores:
    """The model's scores of given completions.

    log_probs of each completion token, logits already divided by the temperature
    entropy   of the distribution each token was drawn from, in nats; None: not computed
    values    of a critic, for losses that use one
    """

    log_probs: Float[HostOrDevice, "B G C"]
    entropy: Float[HostOrDevice, "B G C"] | None = None
    values: Float[HostOrDevice, "B G C"] | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Targets:
    """What else a loss takes of the same completions: constants, computed over the whole batch before it is split.

    loss_mask     bool or 0/1: tokens that count: up to and including the first EOS, nothing after
    row_weight    1; 0 for a row that only pads the batch
    advantages    of a completion, or of each of its tokens; None for SFT
    old_log_probs of the policy that drew the completions; None: it is the current policy
    ref_log_probs of the frozen reference of the KL penalty
    sampling_log_probs of the distribution the tokens were drawn from
    returns, old_values  of a critic: what its values should be (NaN: unknown), and what they were at the rollout
    chosen        tokens whose policy loss counts, others add 0 to its sum; None: all of loss_mask
    """

    loss_mask: Shaped[HostOrDevice, "B G C"]
    row_weight: Float[HostOrDevice, "B G"]
    advantages: Float[HostOrDevice, "B G"] | Float[HostOrDevice, "B G C"] | None = None
    old_log_probs: Float[HostOrDevice, "B G C"] | None = None
    ref_log_probs: Float[HostOrDevice, "B G C"] | None = None
    sampling_log_probs: Float[HostOrDevice, "B G C"] | None = None
    chosen: Bool[HostOrDevice, "B G C"] | None = None
    returns: Float[HostOrDevice, "B G C"] | None = None
    old_values: Float[HostOrDevice, "B G C"] | None = None

    def token_mask(self) -> Bool[HostOrDevice, "B G C"]:
        """Tokens that count, of rows that count."""
        return self.loss_mask.astype(bool) & (self.row_weight > 0)[..., None]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Term:
    """One summand of the loss, coefficient * sum / weight; the weight must not depend on parameters."""

    coefficient: float = dataclasses.field(metadata={"static": True})
    sum: Float[HostOrDevice, ""]
    weight: Shaped[HostOrDevice | np.number, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sum:
    """A metric that is a mean: sum / count."""

    sum: Float[HostOrDevice, ""]
    count: Shaped[HostOrDevice | np.number, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Max:
    """A metric that is a maximum; -inf where nothing was seen."""

    value: Float[HostOrDevice, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Min:
    """A metric that is a minimum; inf where nothing was seen."""

    value: Float[HostOrDevice, ""]


def merge_stacked(tree: Any) -> Any:
    """Terms and metrics of n parts, stacked on a leading axis as `lax.scan` returns them, to those of the whole."""

    def one(part: Any) -> Any:
        match part:
            case Max():
                return Max(part.value.max(0))
            case Min():
                return Min(part.value.min(0))
            case Term() | Sum():
                return jax.tree.map(lambda x: x.sum(0), part)
        raise TypeError(f"terms and metrics are Term, Sum, Max or Min, not {type(part).__name__}")

    return jax.tree.map(one, tree, is_leaf=lambda x: isinstance(x, (Term, Sum, Max, Min)))


def total(terms: Mapping[str, Term]) -> Float[Array, ""]:
    """The loss. A term of weight 0 (a batch of padding alone) adds nothing, and no gradient."""
    return sum((t.coefficient * safe_divide(t.sum, t.weight) for t in terms.values()), start=jnp.float32(0.0))


def finalize(metrics: Mapping[str, Sum | Max | Min]) -> dict[str, Float[Array, ""]]:
    """One scalar a metric; NaN where nothing was counted."""

    def scalar(metric: Any) -> Float[Array, ""]:
        match metric:
            case Sum(sum=x, count=n):
                return jnp.where(n > 0, safe_divide(x, n), jnp.nan)
            case Max(value=x):
                return jnp.where(jnp.isneginf(x), jnp.nan, x)
            case Min(value=x):
                return jnp.where(jnp.isposinf(x), jnp.nan, x)
        raise TypeError(f"metrics are Sum, Max or Min, not {type(metric).__name__}")

    return {name: scalar(metric) for name, metric in metrics.items()}
