"""config.reference: the KL penalty looks at that model, wherever the policy started; empty: at that start."""

import jax
import numpy as np
import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.models.paths import from_paths, leaf_paths
from rrft_jax.models.weights import load_params, save_params
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.pretrained import ASSETS, load_init
from rrft_jax.processing.processor import save_processor
from rrft_jax.rewards import Pool, symbolic
from rrft_jax.run.clock import Clock
from rrft_jax.training.parameters import load_weights
from rrft_jax.training.setup import set_up
from rrft_jax.training.step import make_state
from rrft_jax.training.validate import check_config
from tests.training import runs

NANO = ASSETS / "nano"


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """What an earlier stage might have left: nano with other queries."""
    folder = tmp_path_factory.mktemp("stage") / "hf"
    config = load_config(runs.GRPO)
    model, processor = load_init(config)
    leaves = leaf_paths(load_params(NANO))
    moved = {path: x * (1.5 if path.endswith("/q/kernel") else 1) for path, x in leaves.items()}
    save_params(folder, model.config, from_paths(moved), "float32")
    save_processor(processor, folder)
    return folder


def config_of(stage, reference, rank=0):
    config = load_config(runs.GRPO)
    config.init, config.reference, config.lora.rank = str(stage), reference, rank
    return config


@pytest.mark.parametrize("rank", [0, 4])
def test_it_is_the_start_of_the_stage_or_one_model_through_all_stages(stage, rank):
    for reference, expected in (("", stage), ("nano", NANO)):
        config = config_of(stage, reference, rank)
        check_config(config)
        weights = load_weights(config, load_init(config)[0], make_mesh(devices=jax.devices()[:1]), True)
        found, wanted = leaf_paths(weights.reference), leaf_paths(load_params(expected))
        assert found.keys() == wanted.keys()
        for path, leaf in found.items():
            np.testing.assert_array_equal(leaf, wanted[path], err_msg=f"{reference!r} {path}")
    own, theirs = (leaf_paths(load_params(folder)) for folder in (stage, NANO))
    assert any((own[path] != theirs[path]).any() for path in own)


def test_what_would_change_nothing_is_refused(stage):
    config = config_of(stage, "nano")
    config.loss.beta = 0.0
    with pytest.raises(ValueError, match="config.reference=nano would change nothing: there is no KL penalty"):
        check_config(config)


@pytest.mark.slow
def test_the_first_update_is_pulled_towards_it(stage):
    """Before the first update the policy is its own start: only a fixed reference is away from it."""
    config = config_of(stage, "nano")
    config.update({"train": {"steps": 1, "prompts": 2, "micro_batches": 1}, "eval": {"examples": 0}})
    config.rollout.update({"group": 2, "max_completion_length": 6})
    with Pool(initializer=symbolic.load) as pool, Clock() as clock:
        run, trainable = set_up(config, pool)
        with jax.set_mesh(run.mesh):
            state = make_state(trainable, run.programs.optimizer, run.mesh)
            batch, _, _ = run.algorithm.feed(run, clock, 0, None).take(state["params"], 0)
            parts = batch.prompts, batch.tokens, batch.token_mask
            mask, given = np.asarray(batch.token_mask), np.asarray(batch.targets.ref_log_probs)
            of = lambda params: np.asarray(run.programs.reference(params, *parts))[mask]  # noqa: E731
            np.testing.assert_array_equal(given[mask], of(load_params(NANO)))
            assert np.abs(given[mask] - of(state["params"])).max() > 1e-2
