"""Families are found by their model_type, also in somebody's own package; tests/training trains one from there."""

import shutil
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.data.index import Bucket
from rrft_jax.models.head import logits
from rrft_jax.models.protocol import Model, Sizes
from rrft_jax.models.registry import family_named, make_model, read_config, sizes_from_dict
from rrft_jax.models.weights import load_params
from rrft_jax.planning.dry_run import dry_run
from rrft_jax.processing.buckets import collate
from rrft_jax.processing.processor import encode_prompt, load_processor
from rrft_jax.rollout.decoder import make_decoder
from rrft_jax.rollout.sampler import sample
from tests.helpers.toy_model import NANO, install, installed_toy
from tests.models.build import TINY, quick_jit

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    with installed_toy(tmp_path_factory.mktemp("toy")) as (_, out):
        yield out


def test_both_families_are_what_the_protocol_says(directory):
    for sizes in (TINY, read_config(directory)):
        assert isinstance(sizes, Sizes) and isinstance(make_model(sizes), Model)
        assert set(sizes.eos_token_ids) <= set(range(sizes.vocab_size)) >= set(sizes.visual_token_ids)
        assert sizes_from_dict(family_named(sizes.model_type).write_sizes(sizes, "float32")) == sizes


def test_what_the_sampler_says_is_what_the_whole_sequence_says(directory):
    """Norms on queries and keys, interleaved positions and patches of another size, through cache and prefix alike."""
    processor, sizes = load_processor(directory), read_config(directory)
    model, params = make_model(sizes), load_params(directory)
    picture = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    encoded = encode_prompt(processor, "How many objects are there?", [picture])
    visual = int((encoded.tokens == sizes.image_token_id).sum())
    assert encoded.size.patches == (visual,) and encoded.patches[0].shape[1] == sizes.vision.patch_dim == 768
    length, P = 6, len(encoded.tokens)
    prompts = collate([encoded], [5], Bucket(P, 1, visual), processor.pad_token_id)
    decoder = replace(make_decoder(model, processor, length), eos_token_ids=())
    drawn = quick_jit(lambda p, x: sample(decoder, p, x, jax.random.key(1), group=2))(params, prompts)
    for g in range(2):
        completion = np.asarray(drawn.tokens)[0, g]
        whole = replace(
            prompts,
            tokens=np.concatenate([encoded.tokens, completion])[None],
            token_mask=np.ones((1, P + length), bool),
            positions=np.concatenate(
                [encoded.positions, np.broadcast_to(encoded.next_position + np.arange(length), (3, length))], axis=1
            )[None],
        )
        all_logits = lambda p, x: logits(model.prefill(p, x)[0], model.output_table(p), decoder.allowed)  # noqa: E731
        z = quick_jit(all_logits)(params, whole)
        expected = jax.nn.log_softmax(z[0, P - 1 : -1])[np.arange(length), completion]
        np.testing.assert_allclose(drawn.log_probs[0, g], expected, rtol=0, atol=2e-5)


def test_a_run_of_it_is_planned(directory, capsys):
    assert dry_run(load_config(f"{ROOT}/configs/grpo_counting.py:runlocal,init={directory}")) == 0
    assert "one per 16x16 pixels" in capsys.readouterr().out


def test_patches_that_the_tower_does_not_take_are_refused(directory, tmp_path):
    shutil.copytree(directory, tmp_path / "m")
    shutil.copy(NANO / "preprocessor_config.json", tmp_path / "m")
    with pytest.raises(ValueError, match="preprocessor_config.json: {'patch_size': 14, 'merge_size': 2, .*} is not"):
        load_processor(tmp_path / "m")


def test_an_unknown_family_is_named_with_the_known_ones(directory, tmp_path):
    with pytest.raises(ValueError, match="config.json: model_type is 'llama', this code reads 'qwen2_vl', .* 'toy_vl'"):
        sizes_from_dict({"model_type": "llama"})
    with pytest.raises(ValueError, match="model_type is None"):
        sizes_from_dict({})


def test_a_config_json_runs_no_code_of_its_own(tmp_path):
    (tmp_path / "theirs.py").write_text("raise SystemExit('ran')\n")
    with pytest.raises(ValueError, match="this code reads"):
        sizes_from_dict({"model_type": f"{tmp_path}/theirs.py:FAMILY"})


def test_an_entry_point_that_is_no_family_is_named(tmp_path, monkeypatch):
    install(tmp_path, "not_a_family", "math:pi")
    install(tmp_path, "gone_family", "no_such_module_of_ours:FAMILY")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="entry point not_a_family of the group rrft_jax.models is a float, no Family"):
        family_named("not_a_family")
    with pytest.raises(ValueError, match="No module named 'no_such_module_of_ours'"):
        family_named("gone_family")
