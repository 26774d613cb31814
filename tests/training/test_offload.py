"""Moments in the host's memory: the same numbers to the last bit, there between updates, one parameter at a time."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.run.checkpoints import Checkpoints, released
from rrft_jax.training import offload
from rrft_jax.training.parameters import place
from rrft_jax.training.rounding import rounding
from rrft_jax.training.step import make_state, make_train_step
from tests.models.build import quick_jit
from tests.training.problems import both_losses, example_batch, toy_forward, toy_params


def bits(tree):
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


def memories(state):
    return {x.sharding.memory_kind for x in jax.tree.leaves(state["opt_state"]) if x.ndim}


def kept_in(dtype):
    schedule = optax.linear_schedule(0.5, 0.0, 10)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.1))
    optimizer = rounding(optimizer) if dtype == "bfloat16" else optimizer
    step = make_train_step(toy_forward, both_losses, optimizer, schedule)
    mesh = make_mesh(devices=jax.devices()[:1])
    params = jax.tree.map(lambda x: jnp.asarray(x, dtype), toy_params())
    start = lambda away: make_state(place(params, mesh, ()), optimizer, mesh, away)  # noqa: E731
    return start, quick_jit(step, donate_argnums=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_number_is_the_same(dtype):
    start, step = kept_in(dtype)
    (here, _), (away, _) = (step(start(offloaded), {}, example_batch()) for offloaded in (False, True))
    assert memories(away) == {offload.MEMORY} and memories(here) == {"device"}
    assert bits(here) == bits(away)
    (here, _), (away, _) = (step(state, {}, example_batch()) for state in (here, away))
    assert bits(here) == bits(away) and bits(here) != bits(start(False))


@pytest.mark.parametrize("away", [True, False])
def test_a_checkpoint_is_restored_into_either_memory(tmp_path, away):
    start, step = kept_in("float32")
    state, _ = step(start(not away), {}, example_batch())
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, {})
        found, _, _ = checkpoints.restore(released(start(away)))
    assert memories(found) == {offload.MEMORY if away else "device"} and bits(found) == bits(state)
    expected, _ = step(state, {}, example_batch())
    assert bits(step(found, {}, example_batch())[0]) == bits(expected)


def test_devices_without_such_a_memory_are_refused():
    kinds = lambda: [SimpleNamespace(kind="device"), SimpleNamespace(kind="unpinned_host")]  # noqa: E731
    device = SimpleNamespace(device_kind="a chip", addressable_memories=kinds)
    with pytest.raises(ValueError, match=r"^config.optimizer.offload=True: a chip cannot .*: device, unpinned_host\)"):
        offload.check_memory(SimpleNamespace(devices=np.array([device], object)), "config.optimizer.offload=True")
    offload.check_memory(make_mesh(devices=jax.devices()[:1]), "config.optimizer.offload=True")
