"""The train step: micro-batches, padding rows, devices and bad numbers change nothing they should not."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rrft_jax.losses import GRPOLoss, finalize, grpo_loss, sft_loss
from rrft_jax.losses.aggregate import AGGREGATIONS
from rrft_jax.training.step import init_state, make_gradient, make_train_step, split_micro_batches
from tests.devices import run_on_devices
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.models.build import quick_jit
from tests.training.problems import (
    EMPTY,
    GRPO,
    ROWS,
    both_losses,
    example_batch,
    toy_forward,
    toy_params,
    whole_gradient,
)

VARIANTS = {how: replace(GRPO, aggregation=how) for how in AGGREGATIONS}
VARIANTS["gspo"] = replace(GRPO, ratio_level="sequence")


def every_aggregation(scores, targets):
    """All variants at once, fifteen terms with their own weights: one compilation instead of five."""
    parts = {name: grpo_loss(scores, targets, config) for name, config in VARIANTS.items()}
    terms, metrics = ({f"{name}/{key}": x for name, p in parts.items() for key, x in p[i].items()} for i in (0, 1))
    return terms, metrics


LOSSES = {
    "sft": sft_loss,
    "paper": partial(grpo_loss, config=GRPOLoss(beta=0.04)),
    "every aggregation": every_aggregation,
}


@pytest.mark.parametrize("name", LOSSES)
def test_micro_batches_change_nothing(name):
    params, batch = toy_params(), example_batch(old=name not in ("sft", "paper"))
    jitted = quick_jit(lambda p, b: [make_gradient(toy_forward, LOSSES[name], n)(p, {}, b) for n in (1, 2, 4)])
    run = lambda p, b: [(loss, finalize(metrics), g) for loss, metrics, g in jitted(p, b)]  # noqa: E731
    whole, *parts = run(params, batch)
    slack = rounding(lambda p, b: run(p, b)[0], params, batch)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(whole)) and optax.global_norm(whole[2]) > 1e-3
    for part in parts:
        assert_same_but_rounding(part, whole, slack)

    rubbish = np.isin(np.arange(ROWS), EMPTY)[:, None]
    damaged = replace(
        batch,
        tokens=np.where(rubbish[..., None], 17, batch.tokens),
        targets=replace(batch.targets, advantages=np.where(rubbish, np.nan, batch.targets.advantages)),
    )
    for part in run(params, damaged):
        assert_same_but_rounding(part, whole, slack)


def test_empty_rows_weigh_nothing():
    batch, gradient = example_batch(), quick_jit(make_gradient(toy_forward, both_losses))
    full = [r for r in range(ROWS) if r not in EMPTY]
    small = jax.tree.map(lambda x: x[full], batch)
    inputs = toy_params(), {}, batch
    assert_same_but_rounding(gradient(toy_params(), {}, small), gradient(*inputs), rounding(gradient, *inputs))


@pytest.mark.parametrize("count", [3, 16, 0, -2])
def test_micro_batches_must_divide_the_prompts(count):
    with pytest.raises(ValueError, match=f"train.micro_batches={count} must divide the 8 prompts"):
        make_gradient(toy_forward, sft_loss, count)(toy_params(), {}, example_batch())


def test_micro_batches_trace_the_model_once():
    traced = []

    def forward(*arguments):
        traced.append(arguments)
        return toy_forward(*arguments)

    jax.make_jaxpr(make_gradient(forward, both_losses, 4))(toy_params(), {}, example_batch())
    assert len(traced) == 1


def test_micro_batches_hold_whole_rows():
    batch = example_batch()
    batch = replace(batch, prompts=replace(batch.prompts, prompt_id=np.arange(ROWS)))
    parts = split_micro_batches(batch, 4)
    assert sorted(np.asarray(parts.prompts.prompt_id).reshape(-1).tolist()) == list(range(ROWS))
    for i, rows in enumerate(np.asarray(parts.prompts.prompt_id)):
        np.testing.assert_array_equal(parts.prompts.positions[i], batch.prompts.positions[rows])
        np.testing.assert_array_equal(parts.prompts.patches[i], batch.prompts.patches[rows])
        np.testing.assert_array_equal(parts.targets.advantages[i], batch.targets.advantages[rows])


def bits(tree):
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


@pytest.fixture(scope="module")
def stepping():
    """(state, jitted step, schedule) with AdamW and a schedule that falls at every update."""
    schedule = optax.linear_schedule(0.5, 0.0, 10)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule))
    step = quick_jit(make_train_step(toy_forward, both_losses, optimizer, schedule, micro_batches=2))
    return init_state(jax.tree.map(jnp.asarray, toy_params()), optimizer), step, schedule


def damaged(value):
    batch = example_batch()
    advantages = batch.targets.advantages.copy()
    advantages[0, 0] = value
    return replace(batch, targets=replace(batch.targets, advantages=advantages))


def test_updates_that_are_not_finite_are_left_out_and_counted(stepping):
    state, step, _ = stepping
    first, metrics = step(state, {}, example_batch())
    assert metrics["update_skipped"] == 0 and first["step"] == 1 and first["skipped"] == 0
    assert bits(first["params"]) != bits(state["params"])

    now = first
    for count, value in enumerate((np.nan, np.inf, 3e38), start=1):  # the last one overflows on the way
        now, metrics = step(now, {}, damaged(value))
        assert metrics["update_skipped"] == 1 and now["skipped"] == count and now["step"] == 1 + count
        assert not np.isfinite(metrics["grad_norm"]) or not np.isfinite(metrics["loss"])
        assert bits((now["params"], now["opt_state"])) == bits((first["params"], first["opt_state"]))

    now, metrics = step(now, {}, example_batch())
    assert metrics["update_skipped"] == 0 and now["skipped"] == 0 and now["step"] == 5
    undisturbed, _ = step(first, {}, example_batch())
    assert bits((now["params"], now["opt_state"])) == bits((undisturbed["params"], undisturbed["opt_state"]))


def test_learning_rate_logged_is_the_one_applied():
    schedule = lambda t: 0.5 / (t + 1)  # noqa: E731
    optimizer = optax.sgd(schedule)
    step = quick_jit(make_train_step(toy_forward, sft_loss, optimizer, schedule))
    state, rates = init_state(jax.tree.map(jnp.asarray, toy_params()), optimizer), []
    for batch in (example_batch(), "bad", example_batch(), example_batch()):
        if isinstance(batch, str):
            broken = jax.tree.map(lambda x: x * jnp.nan, state["params"])
            new, metrics = step({**state, "params": broken}, {}, example_batch())
            assert metrics["update_skipped"] == 1
            state = {**new, "params": state["params"]}
            continue
        new, metrics = step(state, {}, batch)
        moved = optax.global_norm(jax.tree.map(jnp.subtract, new["params"], state["params"]))
        np.testing.assert_allclose(moved / metrics["grad_norm"], metrics["learning_rate"], rtol=1e-4)
        rates.append(float(metrics["learning_rate"]))
        state = new
    np.testing.assert_allclose(rates, [0.5, 0.25, 0.5 / 3], rtol=1e-6)


def test_metrics_are_scalars_with_their_names(stepping):
    state, step, _ = stepping
    _, metrics = step(state, {}, example_batch())
    assert {"loss", "grad_norm", "learning_rate", "update_skipped", "policy_loss", "kl", "entropy"} <= set(metrics)
    assert all(x.shape == () and x.dtype == jnp.float32 for x in metrics.values())


ON_A_MESH = """
import sys, jax, numpy as np
from rrft_jax.models.sharding import PARAM_AXES, tree_shardings
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.parallel.placement import to_devices
from tests.helpers.rounding import assert_same_but_rounding
from tests.helpers.rounding import rounding
from tests.models.build import quick_jit
from tests.rollout.reference import random_params
from tests.training.problems import example_batch, real_gradient
out, micro_batches, *axes = sys.argv[1:]
mesh = make_mesh(*map(int, axes))
params = jax.device_put(random_params(), tree_shardings(random_params(), mesh, PARAM_AXES))
with jax.set_mesh(mesh):
    loss, metrics, g = quick_jit(real_gradient(int(micro_batches)))(params, {}, to_devices(example_batch(), mesh))
    jax.block_until_ready(g)
q = params["language"]["layers"]["q"]["kernel"]
print(q.size // q.addressable_shards[0].data.size)
np.savez(out, *map(np.asarray, jax.tree.leaves((loss, metrics, g))))
"""


@pytest.mark.parametrize(
    ("micro_batches", "axes", "pieces"),
    [(2, (2, 2, 2), 4), pytest.param(1, (8, 1, 1), 1, marks=pytest.mark.slow)],
    ids=["data2-fsdp2-tensor2", "data8"],
)
def test_eight_devices_give_the_gradient_of_one(tmp_path, micro_batches, axes, pieces):
    printed = run_on_devices(ON_A_MESH, tmp_path / "g.npz", micro_batches, *axes)
    assert int(printed) == pieces, "the parameters were to be sharded"
    expected, slack = whole_gradient()
    with np.load(tmp_path / "g.npz") as arrays:
        ours = jax.tree.unflatten(jax.tree.structure(expected), [arrays[name] for name in arrays.files])
    assert_same_but_rounding(ours, expected, slack)
