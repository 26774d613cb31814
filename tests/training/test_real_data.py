"""The source over a folder of real records: what it reports, skips, refuses and holds out. Pictures of Super-CLEVR."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rrft_jax.data.records import RecordError
from rrft_jax.processing.processor import load_processor
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.overrides import load_config
from rrft_jax.training.source import make_source
from rrft_jax.training.start import resolve_init

ROOT = Path(__file__).parents[2]
REAL = ROOT / "tests" / "fixtures" / "super-clevr"


@pytest.fixture(scope="module")
def processor():
    return load_processor(resolve_init("nano"), max_pixels=480_000)


def config_for(folder):
    return load_config(f"{ROOT / 'configs' / 'grpo_counting.py'}:data={folder}")


def source_of(config, processor):
    return make_source(config, get_task(config.task), processor)


@pytest.fixture
def damaged(tmp_path):
    """The real folder with three bad records and a picture that is none."""
    folder = tmp_path / "data"
    shutil.copytree(REAL, folder)
    records = json.loads((folder / "records.json").read_text())
    (folder / "images" / "text.png").write_text("no picture")
    bad = [
        {**records[0], "id": "no-answer", "answer": ""},
        {**records[0], "id": "lost", "image": "images/lost.png"},
        {**records[0]},
        {**records[0], "id": "no-picture", "image": "images/text.png"},
    ]
    (folder / "records.json").write_text(json.dumps(records + bad))
    return folder


def test_start_says_what_the_data_is(processor):
    source = source_of(config_for(REAL), processor)
    assert "48 records read, 0 skipped" in source.report
    assert "48 examples in buckets P=512 I=1 n=1600: 48" in source.report
    assert "pictures before resizing, in pixels: 640x480 (48 times)" in source.report
    assert "nano has only seen rendered scenes of 112x112 pixels. Expect low scores" in source.report
    assert {size.patches for size in source.sizes} == {(1564,)}


def test_only_nano_is_excused(processor):
    config = config_for(REAL)
    config.init = "elsewhere"
    assert "low scores" not in source_of(config, processor).report


def test_batches_of_real_pictures(processor):
    config = config_for(REAL)
    source = source_of(config, processor)
    batch = source.fetch(0)
    assert batch.prompts.patches.shape == (config.train.prompts, 1, 1600, 1176)
    np.testing.assert_array_equal(batch.prompts.patch_mask.sum((1, 2)), 1564)
    np.testing.assert_array_equal((batch.prompts.tokens == processor.image_token_id).sum(1), 391)
    assert all("Output the thinking process" in text for text in batch.texts)
    again = source_of(config, processor).fetch(0)
    np.testing.assert_array_equal(batch.prompts.prompt_id, again.prompts.prompt_id)


def test_no_picture_is_trained_on_and_held_out(processor):
    config = config_for(REAL)
    held = {}
    for seed in range(4):
        config.seed = seed
        source = source_of(config, processor)
        out = {e.images for b in source.held_out["eval"] for e in b.examples}
        trained = {e.images for t in range(4) for e in source.fetch(t).examples}
        assert len(out) == 1 and not out & trained and "16 of 48 records held out" in source.report
        held[seed] = out
    assert held[0] != held[1] or held[0] != held[2] or held[0] != held[3]
    config.eval.examples = 0
    assert source_of(config, processor).held_out == {}


def test_bad_records_are_reported_and_skipped(processor, damaged):
    source = source_of(config_for(damaged), processor)
    report = source.report
    assert "49 records read, 3 skipped (empty answer: 1, missing image: 1, duplicate id: 1)" in report
    for name in ("no-answer", "lost", "super-clevr-superCLEVR_new_000000-000"):
        assert f"(id '{name}')" in report
    assert "1 left out, unreadable image: no-picture" in report
    assert "48 examples in buckets" in report


def test_strict_stops_at_bad_records(processor, damaged):
    config = config_for(damaged)
    config.data.strict = True
    with pytest.raises(RecordError, match="3 problems in"):
        source_of(config, processor)
    records = json.loads((damaged / "records.json").read_text())
    (damaged / "records.json").write_text(json.dumps(records[:48] + records[-1:]))
    with pytest.raises(RecordError, match="1 unreadable:\n  no-picture: .*text.png.*replace the file"):
        source_of(config, processor)
