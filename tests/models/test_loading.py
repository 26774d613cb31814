"""Weights read by slice into sharded arrays: only what is asked for, one stacked leaf at a time, back byte for byte."""

from dataclasses import replace
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rrft_jax.models import weights
from rrft_jax.models.files import INDEX, SINGLE, open_tensors
from rrft_jax.models.paths import leaf_paths
from rrft_jax.models.registry import read_config
from rrft_jax.models.weights import load_params, load_sharded, save_params, tensor_names
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.pretrained import ASSETS
from tests.devices import run_on_devices
from tests.models.build import TINY, tiny_params
from tests.timing import tried_again

UNTIED = replace(TINY, tie_word_embeddings=False)
NAMES = tensor_names(TINY)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("saved")
    save_params(directory, UNTIED, tiny_params(UNTIED), dtype="float32", shard_bytes=20_000)
    return directory


def test_any_part_of_a_leaf_is_that_part(saved):
    """Slices as shards ask for them, of every leaf, against the whole."""
    tensors, whole = open_tensors(saved, NAMES), leaf_paths(load_params(saved))
    rng = np.random.default_rng(0)
    for path, x in whole.items():
        for _ in range(3):
            starts = [int(rng.integers(0, n)) for n in x.shape]
            index = tuple(slice(s, int(rng.integers(s + 1, n + 1))) for s, n in zip(starts, x.shape, strict=True))
            part = weights._read_leaf(tensors, UNTIED, path, x.shape, index, np.dtype(np.float32), None)
            np.testing.assert_array_equal(part, x[index], err_msg=path)


def test_a_part_is_read_without_the_rest(saved, monkeypatch):
    """Bytes that come from the file for a quarter of a kernel: a quarter."""
    tensors, counted = open_tensors(saved, NAMES), []
    read = weights.StoredTensor.read
    monkeypatch.setattr(weights.StoredTensor, "read", lambda *a: counted.append(x := read(*a)) or x)
    index = (slice(0, 1), slice(8, 16), slice(0, 32))
    weights._read_leaf(tensors, UNTIED, "language/layers/q/kernel", (2, 32, 32), index, np.dtype(np.float32), None)
    assert [x.shape for x in counted] == [(32, 8)]


def test_each_leaf_has_the_dtype_asked_for(saved):
    paths = leaf_paths(load_params(saved))
    dtypes = {path: np.dtype(ml_dtypes.bfloat16 if "vision" in path else np.float32) for path in paths}
    found = leaf_paths(load_sharded(saved, UNTIED, make_mesh(devices=jax.devices()[:1]), dtypes))
    for path, x in paths.items():
        assert found[path].dtype == dtypes[path]
        np.testing.assert_array_equal(np.asarray(found[path]), x.astype(dtypes[path]))


def test_bfloat16_comes_back_byte_for_byte_in_the_same_shards(tmp_path):
    save_params(tmp_path / "a", UNTIED, tiny_params(UNTIED), shard_bytes=20_000)
    dtypes = dict.fromkeys(leaf_paths(load_params(tmp_path / "a")), np.dtype(ml_dtypes.bfloat16))
    params = load_sharded(tmp_path / "a", UNTIED, make_mesh(devices=jax.devices()[:1]), dtypes)
    save_params(tmp_path / "b", UNTIED, params, shard_bytes=20_000)
    files = lambda d: {p.name: p.read_bytes() for p in d.iterdir()}  # noqa: E731
    assert files(tmp_path / "a") == files(tmp_path / "b") and len(files(tmp_path / "a")) > 4


def test_values_that_are_not_finite_are_damage(tmp_path):
    for dtype in ("float32", "bfloat16"):
        for value in (np.nan, np.inf, -np.inf):
            save_params(tmp_path, TINY, tiny_params(), dtype=dtype)
            tensors = load_file(tmp_path / SINGLE)
            tensors["visual.blocks.1.mlp.fc1.weight"][3, 5] = value
            save_file(tensors, tmp_path / SINGLE)
            with pytest.raises(ValueError, match=f"{SINGLE}: damaged .*visual.blocks.1.mlp.fc1.weight holds values"):
                load_params(tmp_path)


def test_an_index_that_names_the_wrong_file(saved, tmp_path):
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    index = tmp_path / INDEX
    text = index.read_text()
    first, second = sorted({p.name for p in tmp_path.glob("*.safetensors")})[:2]
    name = next(iter(load_file(tmp_path / first)))
    index.write_text(text.replace(f'"{name}": "{first}"', f'"{name}": "{second}"'))
    with pytest.raises(ValueError, match=f"{INDEX} says that {second} holds {name}, but it does not.*download"):
        load_params(tmp_path)


PROGRAM = """
import sys, jax, numpy as np
from rrft_jax.models.registry import read_config
from rrft_jax.models.weights import abstract_params, load_sharded
from rrft_jax.models.paths import leaf_paths
from rrft_jax.parallel.mesh import make_mesh
from tests.anon_memory import Growth
config, mesh = read_config(sys.argv[1]), make_mesh(fsdp=2, tensor=2)
dtypes = dict.fromkeys(leaf_paths(abstract_params(config)), np.dtype(np.float32))
with Growth() as growth:
    params = jax.block_until_ready(load_sharded(sys.argv[1], config, mesh, dtypes))
sizes = [sum(s.data.nbytes for s in x.addressable_shards) for x in jax.tree.leaves(params)]
print(sum(sizes), max(sizes), growth.bytes)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads /proc")
@tried_again  # what threads of XLA and of the allocator add differs by 25 MB from run to run
def test_the_host_never_holds_more_than_one_leaf_besides_the_shards(tmp_path):
    """150 MB of parameters on four devices; reading them all to the host first would take another 150."""
    config = replace(
        TINY, vocab_size=20_000, hidden_size=256, intermediate_size=2048, num_layers=20, num_heads=32,
        vision=replace(TINY.vision, hidden_size=256),
    )  # fmt: skip
    shapes = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, np.float32), weights.abstract_params(config))
    save_params(tmp_path, config, shapes)
    printed = run_on_devices(PROGRAM, tmp_path, count=4)
    local, largest, grown = map(int, printed.split())
    assert local > 140e6 and largest < 45e6
    assert grown < local + largest + 40e6, f"{local:,} bytes of shards, largest {largest:,}, grew by {grown:,}"


def test_what_is_written_can_be_read_by_others(tmp_path):
    model = load_params(ASSETS / "nano")
    save_params(tmp_path, read_config(ASSETS / "nano"), model)
    assert (tmp_path / SINGLE).stat().st_mode & 0o777 == 0o644
