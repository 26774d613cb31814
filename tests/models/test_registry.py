"""A family from somebody's own package: found by its model_type, and then trained, sampled, planned and exported."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.data.index import Bucket
from rrft_jax.evaluation.answer import make_answer
from rrft_jax.models.head import logits
from rrft_jax.models.paths import leaf_paths
from rrft_jax.models.protocol import Model, Sizes
from rrft_jax.models.registry import family_named, make_model, read_config, sizes_from_dict
from rrft_jax.models.vocabulary import allowed_tokens
from rrft_jax.models.weights import load_params, save_params
from rrft_jax.planning.dry_run import dry_run
from rrft_jax.pretrained import ASSETS, load_model
from rrft_jax.processing.buckets import collate
from rrft_jax.processing.processor import encode_prompt, load_processor
from rrft_jax.rollout.sampler import sample
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.run.metrics import read_metrics
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.loop import train
from tests.models.build import TINY, quick_jit

ROOT = Path(__file__).parents[2]
NANO = ASSETS / "nano"


def install(site: Path, name: str, target: str) -> None:
    """An installed package is, to Python, its modules and a folder of metadata on the path."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[rrft_jax.models]\n{name} = {target}\n")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A HuggingFace directory of the toy family, whose package is installed."""
    site, out = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("toy")
    shutil.copy(Path(__file__).with_name("toy_family.py"), site)
    install(site, "toy_vl", "toy_family:FAMILY")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        shutil.copy(NANO / name, out)
    images = json.loads((NANO / "preprocessor_config.json").read_text())
    images |= {"patch_size": 16, "merge_size": 1, "temporal_patch_size": 1}
    (out / "preprocessor_config.json").write_text(json.dumps(images))
    nano = read_config(NANO)
    toy = {
        "vocab_size": nano.vocab_size, "hidden_size": 32, "num_layers": 2, "num_heads": 2,
        "eos_token_id": nano.eos_token_id, "pad_token_id": nano.pad_token_id,
        "special": [nano.image_token_id, nano.video_token_id, nano.vision_start_token_id, nano.vision_end_token_id],
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        sizes = sizes_from_dict({"model_type": "toy_vl", "toy": toy})
        save_params(out, sizes, make_model(sizes).init_params(jax.random.key(0)), "float32")
        yield out


def toy_config(directory):
    config = load_config(f"{ROOT}/configs/grpo_counting.py:runlocal,init={directory}")
    config.buckets.prompt, config.buckets.patches = (136,), (64,)
    config.train.update({"steps": 2, "prompts": 4, "micro_batches": 1})
    config.rollout.update({"group": 4, "max_completion_length": 12})
    config.eval.update({"examples": 4, "batch": 4})
    config.optimizer.schedule.peak, config.loss.beta = 1e-2, 0.0
    config.log.tensorboard = False
    return config


def test_both_families_are_what_the_protocol_says(directory):
    for sizes in (TINY, read_config(directory)):
        assert isinstance(sizes, Sizes) and isinstance(make_model(sizes), Model)
        assert sizes_from_dict(family_named(sizes.model_type).write_sizes(sizes, "float32")) == sizes


def test_a_family_from_outside_is_trained_evaluated_and_exported(directory, tmp_path):
    config = toy_config(directory)
    assert train(config, tmp_path / "run") == 0
    first, *steps = read_metrics(tmp_path / "run")
    assert "eval/accuracy" in first and [record["step"] for record in steps] == [1, 2]
    assert all(np.isfinite(record["loss"]) and record["grad_norm"] > 0 for record in steps)

    exported = tmp_path / "run" / "hf"
    assert read_config(exported) == read_config(directory)
    before, after = (leaf_paths(load_params(folder)) for folder in (directory, exported))
    assert before.keys() == after.keys() and "vision/patch_embed/proj/kernel" in after
    assert all((before[path] != after[path]).any() for path in after if "/kernel" in path), "the update reaches all"
    config.init = str(tmp_path / "run")
    model, processor, params = load_model(config)
    example = get_task("visual_counting").make(0, 0, "val", "in")
    answer = make_answer(model, params, processor, Sampling(0.0), max_new_tokens=8)
    assert isinstance("".join(answer(example.problem, example.images)), str)


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
    allowed = jnp.asarray(allowed_tokens(sizes, processor.vocab_tokens, processor.eos_token_ids))
    drawn = quick_jit(
        lambda p, x: sample(
            model, p, x, jax.random.key(1), allowed, (), processor.pad_token_id, group=2, length=length
        )
    )(params, prompts)
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
        z = quick_jit(lambda p, x: logits(model.prefill(p, x)[0], model.output_table(p), allowed))(params, whole)
        expected = jax.nn.log_softmax(z[0, P - 1 : -1])[np.arange(length), completion]
        np.testing.assert_allclose(drawn.log_probs[0, g], expected, rtol=0, atol=2e-5)


def test_a_run_of_it_is_planned(directory, capsys):
    assert dry_run(toy_config(directory)) == 0
    assert "one per 16x16 pixels" in capsys.readouterr().out


def test_patches_that_the_tower_does_not_take_are_refused(directory, tmp_path):
    shutil.copytree(directory, tmp_path / "m")
    shutil.copy(NANO / "preprocessor_config.json", tmp_path / "m")
    with pytest.raises(ValueError, match="preprocessor_config.json: {'patch_size': 14, 'merge_size': 2, .*} is not"):
        load_processor(tmp_path / "m")


def test_an_unknown_family_is_named_with_the_known_ones(directory, tmp_path):
    with pytest.raises(ValueError, match="config.json: model_type is 'llama', this code reads 'qwen2_vl', 'toy_vl'"):
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
