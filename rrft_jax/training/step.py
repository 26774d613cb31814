"""The one place that takes a gradient: `make_train_step` serves SFT and GRPO, any loss, any split of parameters."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.losses import terms as T
from rrft_jax.losses.terms import Scores, Targets
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.protocol import Model
from rrft_jax.models.score import score
from rrft_jax.models.sharding import shardings_like
from rrft_jax.parallel.mesh import constrain
from rrft_jax.training.offload import in_host_memory, is_offloaded, one_by_one
from rrft_jax.training.parameters import combine

State = dict[str, Any]


def init_state(trainable: dict, optimizer: optax.GradientTransformation) -> State:
    """Parameters, optimizer state, the number of steps taken, and the number of non-finite updates in a row."""
    return {
        "params": trainable,
        "opt_state": optimizer.init(trainable),
        "step": jnp.int32(0),
        "skipped": jnp.int32(0),
    }


def split_micro_batches(batch: Any, count: int) -> Any:
    """Every leaf [B, ...] as [count, B / count, ...].

    Rows are dealt out in turn, so that each device keeps its own rows of every micro-batch.
    """

    def split(x: Shaped[HostOrDevice, "B ..."]) -> Shaped[Array, "count part ..."]:
        B = x.shape[0]
        if count < 1 or B % count:
            raise ValueError(f"train.micro_batches={count} must divide the {B} prompts of a batch")
        x = jnp.moveaxis(x.reshape(B // count, count, *x.shape[1:]), 1, 0)
        return constrain(x, None, "batch", *[None] * (x.ndim - 2))

    return jax.tree.map(split, batch)


def make_gradient(forward: Callable, loss_fn: Callable, micro_batches: int = 1) -> Callable:
    """gradient(trainable, frozen, batch) -> (loss, metrics, float32 gradient), the same whatever `micro_batches` is.

    forward(trainable, frozen, batch) -> Scores; loss_fn(scores, batch.targets) -> (terms, metrics). The weight of a
    term never depends on parameters, so the weights of the whole batch are known before the first micro-batch; each
    then contributes sum / weight, and its activations are gone before the next. Nothing is computed twice: a scan
    inside the differentiated function would have to keep or recompute every micro-batch's activations.
    """

    def loss(trainable: dict, frozen: dict, batch: Any, weights: dict | None) -> tuple[jax.Array, Any]:
        terms, metrics = loss_fn(forward(trainable, frozen, batch), batch.targets)
        if weights is not None:
            terms = {name: dataclasses.replace(term, weight=weights[name]) for name, term in terms.items()}
        return T.total(terms), metrics

    differentiate = jax.value_and_grad(loss, has_aux=True)

    def whole(trainable: dict, frozen: dict, batch: Any) -> tuple[jax.Array, Any, Any]:
        (value, metrics), gradient = differentiate(trainable, frozen, batch, None)
        return value, metrics, jax.tree.map(lambda x: x.astype(jnp.float32), gradient)

    def in_parts(trainable: dict, frozen: dict, batch: Any) -> tuple[jax.Array, Any, Any]:
        # Any scores give the weights. Asking the model for their shapes would trace it once more.
        zeros = jnp.zeros(batch.targets.loss_mask.shape, jnp.float32)
        blank = T.Scores(zeros, zeros, zeros)
        terms, _ = loss_fn(blank, batch.targets)
        weights = {name: term.weight for name, term in terms.items()}

        def add(carry: Any, part: Any) -> tuple[Any, Any]:
            (value, metrics), gradient = differentiate(trainable, frozen, part, weights)
            return jax.tree.map(jnp.add, carry, (value, gradient)), metrics

        # Added up in float32, also where parameters, and so the gradients of a part, are bfloat16.
        start = (jnp.float32(0), jax.tree.map(lambda x: jnp.zeros_like(x, dtype=jnp.float32), trainable))
        (value, gradient), metrics = jax.lax.scan(add, start, split_micro_batches(batch, micro_batches))
        return value, T.merge_stacked(metrics), gradient

    return whole if micro_batches == 1 else in_parts


def make_train_step(
    forward: Callable,
    loss_fn: Callable,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    micro_batches: int = 1,
) -> Callable:
    """step(state, frozen, batch) -> (state, metrics); to be jitted with the state donated.

    A loss or gradient that is not finite leaves parameters and optimizer untouched and is counted in state['skipped']
    (reset by the next good step). metrics are float32 scalars, with TRL's names.
    """
    differentiate = make_gradient(forward, loss_fn, micro_batches)

    def update(opt_state: Any, params: dict, gradient: dict, good: jax.Array) -> tuple[Any, dict]:
        updates, new = optimizer.update(gradient, opt_state, params)
        both = new, optax.apply_updates(params, updates)
        return jax.tree.map(lambda n, o: jnp.where(good, n, o), both, (opt_state, params))

    def step(state: State, frozen: dict, batch: Any) -> tuple[State, dict]:
        value, metrics, gradient = differentiate(state["params"], frozen, batch)
        norm = optax.global_norm(gradient)
        good = jnp.isfinite(value) & jnp.isfinite(norm)
        updated = partial(one_by_one, update) if is_offloaded(state["opt_state"]) else update
        opt_state, params = updated(state["opt_state"], state["params"], gradient, good)
        skipped = jnp.where(good, 0, state["skipped"] + 1)
        # Where the optimizer's own schedules are (several move together): a skipped update does not advance them.
        counts = optax.tree_utils.tree_get_all_with_path(
            state["opt_state"],
            "count",
            lambda path, _: getattr(path[-1], "tuple_name", None) == "ScaleByScheduleState",
        )
        updates_made = counts[0][1] if counts else state["step"]
        metrics = {
            **T.finalize(metrics),
            "loss": value,
            "grad_norm": norm,
            "learning_rate": jnp.float32(schedule(updates_made)),
            "update_skipped": (~good).astype(jnp.float32),
        }
        return {"params": params, "opt_state": opt_state, "step": state["step"] + 1, "skipped": skipped}, metrics

    return step


def make_state(
    trainable: dict, optimizer: optax.GradientTransformation, mesh: Mesh, offload: bool = False
) -> State:
    """The train state, sharded over the mesh from its first moment on; consumes `trainable`. offload: the optimizer's
    averages lie in the host's memory."""

    def rest(params: dict) -> State:
        return {name: x for name, x in init_state(params, optimizer).items() if name != "params"}

    shapes = jax.eval_shape(rest, trainable)
    shardings = shardings_like(shapes, trainable, mesh)
    if offload:
        shardings["opt_state"] = in_host_memory(shapes["opt_state"], shardings["opt_state"])
    return {"params": trainable, **jax.jit(rest, out_shardings=shardings)(trainable)}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Batch:
    """Prompts with G completions each, right-padded, and targets."""

    prompts: Prompts
    tokens: Int[HostOrDevice, "B G C"]
    token_mask: Bool[HostOrDevice, "B G C"]
    targets: Targets


def make_forward(
    model: Model,
    allowed: Bool[HostOrDevice, " V"] | None,
    temperature: float = 1.0,
    chunk: int = 32,
    group_chunks: int = 1,
    values: Callable[[dict, jax.Array], jax.Array] | None = None,
) -> Callable[[dict, dict, Batch], Scores]:
    """forward(trainable, frozen, batch) -> Scores under softmax(logits / temperature) over the allowed tokens.

    values(params, hidden) -> values of a critic; None: there is none.
    """

    def forward(trainable: dict, frozen: dict, batch: Batch) -> Scores:
        params = combine(trainable, frozen)
        completions = (batch.tokens, batch.token_mask)
        read = partial(values, params) if values else None
        return Scores(
            *score(model, params, batch.prompts, *completions, allowed, temperature, chunk, group_chunks, read)
        )

    return forward
