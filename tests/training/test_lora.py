"""Runs that train an adapter: what is trained, what is shared, what is left behind, and an exact resume."""

import json
import shutil

import jax
import numpy as np
import optax
import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.models.adapter import read_adapter
from rrft_jax.models.lora import is_adapter
from rrft_jax.models.paths import from_paths, leaf_paths
from rrft_jax.models.weights import load_params, load_sharded, save_params
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.pretrained import ASSETS, load_init, load_model, resolve_init
from rrft_jax.processing.processor import save_processor
from rrft_jax.run.metrics import read_metrics
from rrft_jax.training.algorithms import get_algorithm
from rrft_jax.training.parameters import load_weights
from rrft_jax.training.step import make_state
from rrft_jax.training.validate import check_config
from tests.training import runs
from tests.training.test_loop import SFT, records  # noqa: F401, a fixture

NANO = ASSETS / "nano"
LORA = ("--config.lora.rank=4", "--config.lora.alpha=16", "--config.optimizer.schedule.peak=1e-2")
GRPO = (*runs.TINY, *LORA, "--config.train.micro_batches=2", "--config.train.group_chunks=2")


@pytest.fixture(scope="module")
def finished_lora(launcher, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("lora") / "run"
    return workdir, launcher.run(workdir, *GRPO)


def lora_config(**fields):
    config = load_config(runs.GRPO)
    config.lora.rank = 4
    for name, value in fields.items():
        holder, _, last = name.rpartition("__")
        (config[holder] if holder else config)[last] = value
    return config


def weights_of(config):
    model, _ = load_init(config)
    reference = get_algorithm(config.algorithm).reference(config)
    return load_weights(config, model, make_mesh(devices=jax.devices()[:1]), reference)


def test_the_reference_is_the_base_itself_and_no_copy():
    weights = weights_of(lora_config())
    frozen, reference = leaf_paths(weights.frozen), leaf_paths(weights.reference)
    assert set(reference) == {path for path in frozen if not is_adapter(path)} == set(leaf_paths(load_params(NANO)))
    assert all(reference[path] is frozen[path] for path in reference)
    assert {path.rsplit("/")[-1] for path in leaf_paths(weights.trainable)} == {"lora_a", "lora_b"}


def test_full_training_copies_what_it_trains_and_only_that():
    config = lora_config(lora__rank=0, train__freeze=("^vision/",))
    weights = weights_of(config)
    trainable, frozen = leaf_paths(weights.trainable), leaf_paths(weights.frozen)
    for path, leaf in leaf_paths(weights.reference).items():
        if path in frozen:
            assert leaf is frozen[path] and path.startswith("vision/")
        else:
            assert leaf.unsafe_buffer_pointer() != trainable[path].unsafe_buffer_pointer()
    state = make_state(weights.trainable, optax.adamw(1e-3), make_mesh(devices=jax.devices()[:1]))
    jax.tree.map(np.testing.assert_array_equal, weights.reference, load_params(NANO))  # outlives what became the state
    assert leaf_paths(state["params"]).keys() == trainable.keys()


@pytest.mark.parametrize("fields", [dict(loss__beta=0.0), dict(algorithm="sft")])
def test_no_reference_where_no_loss_looks_at_it(fields):
    for rank in (0, 4):
        assert weights_of(lora_config(lora__rank=rank, **fields)).reference is None


def test_frozen_parameters_are_kept_in_bfloat16_on_request():
    weights = weights_of(lora_config(model__frozen_dtype="bfloat16"))
    kinds = {(is_adapter(path), leaf.dtype.name) for path, leaf in leaf_paths(weights.frozen).items()}
    assert kinds == {(True, "float32"), (False, "bfloat16")}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(weights.trainable)} == {"float32"}
    stored = load_params(NANO)  # in bfloat16, so nothing is lost
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(np.asarray(x, np.float32), y), weights.reference, stored)
    full = weights_of(lora_config(lora__rank=0, model__frozen_dtype="bfloat16"))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(full.trainable)} == {"float32"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(full.reference)} == {"bfloat16"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(lora__rank=-1), "config.lora.rank=-1"),
        (dict(lora__parts=("audio",)), "config.lora.parts"),
        (dict(train__freeze=("^vision/",)), "config.train.freeze=.*only the adapter is trained"),
        (dict(lora__rank=0, model__frozen_dtype="nf4"), "frozen_dtype=nf4 is for a base .* give config.lora.rank"),
        (dict(lora__rank=0, lora__adapter="x"), "config.lora.adapter=x is an adapter.*give config.lora.rank"),
        (dict(model__frozen_dtype="float16"), "config.model.frozen_dtype='float16': choose float32, .*int8 or nf4"),
    ],
)
def test_fields_that_do_not_fit(fields, message):
    with pytest.raises(ValueError, match=message):
        check_config(lora_config(**fields))


def test_a_run_trains_the_adapter_only(finished_lora):
    workdir, output = finished_lora
    assert "LoRA of rank 4: 38,912 parameters are trained" in output and "adapter" in output
    arrays, _, _ = runs.checkpoint(workdir)
    # Checkpoints hold the adapter and its moments, not the base.
    assert {name.rsplit("/")[-1] for name in arrays if name.startswith("params/")} == {"lora_a", "lora_b"}
    assert sum(x.size for x in arrays.values()) < 4 * 38_912
    metrics = list(read_metrics(workdir))[1:]
    assert max(record["grad_norm"] for record in metrics) > 0
    first = next(t for t, record in enumerate(metrics) if record["grad_norm"] > 0)
    assert all(abs(record["kl"]) < 1e-6 for record in metrics[: first + 1])
    assert all(record["kl"] > 1e-7 for record in metrics[first + 1 :])


def test_what_is_left_behind_is_the_adapter_and_the_merged_model(finished_lora):
    workdir, _ = finished_lora
    arrays, _, _ = runs.checkpoint(workdir)
    model, _ = load_init(lora_config())
    leaves = read_adapter(workdir / "adapter", model.config, NANO)
    trained = {path: x for path, x in leaves.items() if not path.endswith("scale")}
    assert {f"params/{path}" for path in trained} == {name for name in arrays if name.startswith("params/")}
    for path, x in trained.items():
        np.testing.assert_array_equal(x, arrays[f"params/{path}"])
    assert all((x == 4).all() for path, x in leaves.items() if path.endswith("scale"))

    result = leaf_paths(load_params(workdir / "hf"))
    merged = leaf_paths(load_params(NANO, adapter=leaves))
    base = leaf_paths(load_params(NANO))
    for path, x in merged.items():
        np.testing.assert_allclose(result[path], x, rtol=2**-8, atol=1e-30)
    assert any((merged[path] != base[path]).any() for path in merged)

    # As init: the adapter is merged into the base that it names; the workdir is its merged export.
    config = lora_config(init=str(workdir / "adapter"), lora__rank=0)
    assert resolve_init(config.init) == NANO and resolve_init(str(workdir)) == workdir / "hf"
    _, _, params = load_model(config)
    jax.tree.map(np.testing.assert_array_equal, params, from_paths(merged))
    jax.tree.map(np.testing.assert_array_equal, weights_of(config).reference, from_paths(merged))


def test_an_adapter_goes_on_where_it_was(finished_lora):
    adapter = str(finished_lora[0] / "adapter")
    weights = weights_of(lora_config(lora__alpha=16.0, lora__adapter=adapter))
    leaves = read_adapter(adapter, load_init(lora_config())[0].config, NANO)
    for path, x in leaf_paths(weights.trainable).items():
        np.testing.assert_array_equal(x, leaves[path])
    jax.tree.map(np.testing.assert_array_equal, weights.reference, load_params(NANO))
    for fields, message in (
        (dict(lora__alpha=8.0), "has rank 4, alpha 16 at language/layers/down, config.lora has rank 4, alpha 8: make"),
        (dict(lora__alpha=16.0, lora__targets=("q",)), "at language/layers/down, config.lora has no adapter"),
        (dict(init=adapter, lora__adapter=""), "is an adapter, and config.lora.rank asks for one"),
    ):
        with pytest.raises(ValueError, match=message):
            weights_of(lora_config(**{"lora__adapter": adapter, **fields}))


def test_an_adapter_of_another_base_is_refused(finished_lora, tmp_path):
    workdir, _ = finished_lora
    other = tmp_path / "other"
    model, processor = load_init(lora_config())
    params = jax.tree.map(lambda x: x + 0.125, load_params(NANO))
    save_params(other, model.config, params)
    save_processor(processor, other)
    with pytest.raises(ValueError, match="an adapter of another base than .*other.*give its own base as init"):
        weights_of(lora_config(init=str(other), lora__alpha=16.0, lora__adapter=str(workdir / "adapter")))
    adapter = tmp_path / "adapter"
    shutil.copytree(workdir / "adapter", adapter)
    settings = json.loads((adapter / "adapter_config.json").read_text())
    for base, message in (
        (str(other), "an adapter of another base"),
        ("Qwen/Qwen2-VL-2B-Instruct", "is a LoRA adapter of 'Qwen/Qwen2-VL-2B-Instruct', which is no model directory"),
        (None, "is no model directory here: write the directory of its base into base_model_name_or_path"),
    ):
        (adapter / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": base}))
        with pytest.raises(ValueError, match=message):
            weights_of(lora_config(init=str(adapter), lora__rank=0))


@pytest.mark.slow
def test_sft_learns_with_an_adapter(launcher, records, tmp_path):  # noqa: F811
    workdir = tmp_path / "run"
    options = (*SFT, *LORA, "--config.lora.parts='language','vision'", "--config.train.micro_batches=2")
    launcher.run(workdir, *options, config=f"configs/cot_sft.py:counting,runlocal,data={records}")
    losses = [record["loss"] for record in list(read_metrics(workdir))[1:]]
    assert losses[-1] < 0.8 * losses[0], losses
    tower = "vision/blocks/qkv/kernel"
    assert (leaf_paths(load_params(workdir / "hf"))[tower] != leaf_paths(load_params(NANO))[tower]).any()


def test_loading_on_the_mesh_is_loading_on_the_host():
    model, _ = load_init(lora_config())
    mesh = make_mesh(devices=jax.devices()[:1])
    dtypes = dict.fromkeys(leaf_paths(load_params(NANO)), np.dtype(np.float32))
    jax.tree.map(np.testing.assert_array_equal, load_sharded(NANO, model.config, mesh, dtypes), load_params(NANO))
