"""The critic: one linear map on the decoder's hidden states, with a learning rate of its own."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from rrft_jax.config.groups import read
from rrft_jax.training.optimizer import make_optimizer
from rrft_jax.training.rounding import rounding

HEAD = "value_head"  # the branch of the trainable tree, next to the model's own


@dataclass(frozen=True)
class Critic:
    """peak: its learning rate, on the policy's schedule. trunk: frozen, where its loss moves the head alone, or shared,
    where it moves the decoder too. warmup: updates at the start in which nothing but the head moves."""

    peak: float
    trunk: str
    warmup: int

    def values(self, params: dict, hidden: jax.Array) -> jax.Array:
        """float32[..., C] of hidden states [..., C, D]: what the rest of a completion will earn."""
        if self.trunk == "frozen":
            hidden = jax.lax.stop_gradient(hidden)
        head = params[HEAD]
        return (hidden.astype(jnp.float32) @ head["kernel"])[..., 0] + head["bias"]


def head_params(hidden_size: int) -> dict:
    """Zeros: the first values are 0, whatever the model."""
    return {HEAD: {"kernel": np.zeros((hidden_size, 1), np.float32), "bias": np.zeros((), np.float32)}}


def without_head(params: dict) -> dict:
    """The model's own parameters."""
    return {name: branch for name, branch in params.items() if name != HEAD}


class HoldState(NamedTuple):
    count: jax.Array


def hold(first: int) -> optax.GradientTransformation:
    """The parameters do not move in the `first` updates; the optimizer's moving averages do."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, HoldState]:
        del params
        moves = state.count >= first
        return jax.tree.map(lambda x: jnp.where(moves, x, 0), updates), HoldState(state.count + 1)

    return optax.GradientTransformation(lambda params: HoldState(jnp.int32(0)), update)


def optimizer_for(
    config: ConfigDict, critic: Critic | None = None
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimizer of a run and the policy's schedule: `make_optimizer`'s, rounding at random where parameters are
    bfloat16, and one like it for the critic's head, which clips its gradient on its own."""
    settings = read(config, "optimizer")
    policy, schedule = make_optimizer(settings, config.train.steps)
    if config.model.trained_dtype == "bfloat16":
        policy = rounding(policy)
    if critic is None:
        return policy, schedule
    own = replace(settings, schedule=replace(settings.schedule, peak=critic.peak))
    if critic.warmup:
        policy = optax.chain(policy, hold(critic.warmup))

    def parts(params: dict) -> dict:
        label = lambda name: "head" if name == HEAD else "policy"  # noqa: E731
        return {name: jax.tree.map(lambda _, of=name: label(of), branch) for name, branch in params.items()}

    head, _ = make_optimizer(own, config.train.steps)
    return optax.multi_transform({"policy": policy, "head": head}, parts), schedule
