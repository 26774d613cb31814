"""Weights and adapter on eight devices. Own process: the number of CPU devices is fixed at start."""

import jax
import numpy as np
import pytest

from rrft_jax.models.files import SINGLE
from rrft_jax.models.paths import from_paths
from rrft_jax.models.weights import save_params
from rrft_jax.training.parameters import combine
from tests.devices import run_on_devices
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.models.build import TINY
from tests.models.test_lora import gradient, random_adapter, split
from tests.rollout.reference import random_params
from tests.training.problems import example_batch

PROGRAM = """
import sys, jax, numpy as np, optax
from pathlib import Path
from rrft_jax.models.sharding import PARAM_AXES, param_spec
from rrft_jax.models.paths import from_paths, leaf_paths
from rrft_jax.models.weights import load_sharded, save_params
from rrft_jax.parallel import processes
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.parallel.placement import to_devices
from rrft_jax.training.step import make_state
from rrft_jax.training.parameters import place
from rrft_jax.training.parameters import combine
from tests.models.build import TINY
from tests.models.test_lora import SHAPES, gradient, random_adapter, split
from tests.training.problems import example_batch
folder, micro_batches, *axes = sys.argv[1:]
folder, mesh = Path(folder), make_mesh(*map(int, axes))
base = load_sharded(folder, TINY, mesh, dict.fromkeys(SHAPES, np.dtype(np.float32)))
for path, leaf in leaf_paths(base).items():
    assert leaf.sharding.spec == param_spec(path, leaf.shape, mesh, PARAM_AXES), path
trainable, constants = split(random_adapter())
frozen, trainable = combine(base, place(from_paths(constants), mesh, PARAM_AXES)), place(trainable, mesh, PARAM_AXES)
save_params(folder / "again", TINY, base, dtype="float32")
save_params(folder / "merged", TINY, combine(trainable, frozen), dtype="float32")
processes.PIECE = 200  # elements: most layers come together in several pieces, the last one of them shorter
save_params(folder / "pieces", TINY, combine(trainable, frozen), dtype="float32")
with jax.set_mesh(mesh):
    out = gradient(int(micro_batches))(trainable, frozen, to_devices(example_batch(), mesh))
    state = make_state(trainable, optax.adamw(1e-3), mesh)
np.savez(folder / "out.npz", *map(np.asarray, jax.tree.leaves(out)))
a = state["opt_state"][0].mu["language"]["layers"]["down"]["lora_a"]
print(a.size // a.addressable_shards[0].data.size)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("micro_batches", "axes", "pieces"),
    [(2, (2, 2, 2), 2), (1, (1, 8, 1), 1)],
    ids=["data2-fsdp2-tensor2", "fsdp8"],
)
def test_eight_devices_give_the_gradient_of_one(tmp_path, micro_batches, axes, pieces):
    params = random_params()
    save_params(tmp_path, TINY, params, dtype="float32")
    printed = run_on_devices(PROGRAM, tmp_path, micro_batches, *axes)
    assert int(printed) == pieces, "the adapter's moments were to be sharded like its kernel"
    trainable, constants = split(random_adapter())
    frozen = combine(params, from_paths(constants))
    f, inputs = gradient(), (trainable, frozen, example_batch())
    expected = f(*inputs)
    with np.load(tmp_path / "out.npz") as arrays:
        ours = jax.tree.unflatten(jax.tree.structure(expected), [arrays[name] for name in arrays.files])
    assert_same_but_rounding(ours, expected, rounding(f, *inputs))
    # Written from eight devices: byte for byte what one wrote.
    assert (tmp_path / "again" / SINGLE).read_bytes() == (tmp_path / SINGLE).read_bytes()
    save_params(tmp_path / "here", TINY, combine(trainable, frozen), dtype="float32")
    for folder in ("merged", "pieces"):
        assert (tmp_path / folder / SINGLE).read_bytes() == (tmp_path / "here" / SINGLE).read_bytes()
