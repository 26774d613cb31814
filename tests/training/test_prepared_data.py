"""Training on a prepared data set: the same batches as on the folder it was made of, on any number of processes."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from rrft_jax.config.command_line import load_config
from rrft_jax.data.loader import make_loader
from rrft_jax.data.records import RecordError
from rrft_jax.data.sources.registry import SOURCES, find_parts
from rrft_jax.data.tfds_builder import build
from rrft_jax.parallel.layout import Layout
from rrft_jax.pretrained import resolve_init
from rrft_jax.processing.processor import load_processor
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.source import make_source
from tests.data.sources.real import FIXTURES, SUPER_CLEVR
from tests.training.test_real_data import ROOT


@pytest.fixture(scope="module")
def processor():
    return load_processor(resolve_init("nano"), max_pixels=480_000)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared")
    found = find_parts("super_clevr", SUPER_CLEVR)
    return build(SOURCES["super_clevr"], found.parts, out, SUPER_CLEVR)[0]


def config_for(folder):
    return load_config(f"{ROOT / 'configs' / 'grpo_counting.py'}:data={folder}")


def source_of(config, processor, step=None):
    return make_source(config, get_task(config.task), processor, step)


def test_batches_are_those_of_the_records_it_was_made_of(prepared, processor):
    raw = source_of(config_for(SUPER_CLEVR), processor)
    ours = source_of(config_for(prepared), processor)
    assert "48 records read, 0 skipped" in ours.report and "16 of 48 records held out" in ours.report
    assert ours.sizes == raw.sizes
    first, second = raw.fetch(0), ours.fetch(0)
    assert [e.id for e in first.examples] == [e.id for e in second.examples] and first.texts == second.texts
    for name in ("prompt_id", "tokens", "patches", "patch_mask", "positions"):
        np.testing.assert_array_equal(getattr(first.prompts, name), getattr(second.prompts, name))
    held = [{e.id for b in source.held_out["eval"] for e in b.examples} for source in (raw, ours)]
    assert held[0] == held[1]


def test_no_picture_is_read_before_it_is_needed(prepared, processor, monkeypatch):
    """A run's start measures and shares out every record; one batch then reads its own rows."""
    as_data_source, asked = tfds.core.DatasetBuilder.as_data_source, []

    class Watched:
        def __init__(self, rows):
            self._rows = rows

        def __len__(self):
            return len(self._rows)

        def __getitem__(self, index):
            asked.append(index)
            return self._rows[index]

    watch = lambda *args, **options: Watched(as_data_source(*args, **options))  # noqa: E731
    monkeypatch.setattr(tfds.core.DatasetBuilder, "as_data_source", watch)
    source = source_of(config_for(prepared), processor)
    assert "48 records read" in source.report and asked == []
    batch = source.fetch(0)
    assert set(asked) == {image.row for example in batch.examples for image in example.images}


def test_a_batch_is_the_same_on_any_number_of_processes(prepared, processor):
    config = config_for(prepared)
    B = config.train.prompts
    whole = source_of(config, processor).fetch(3)
    rows = np.array_split(np.arange(B), 2)
    parts = [source_of(config, processor, Layout(B, B, 1, mine, np.ones(len(mine), bool))).fetch(3) for mine in rows]
    np.testing.assert_array_equal(np.concatenate([p.prompts.prompt_id for p in parts]), whole.prompts.prompt_id)
    np.testing.assert_array_equal(np.concatenate([p.prompts.patches for p in parts]), whole.prompts.patches)


def test_threads_of_the_loader_read_it_together(prepared, processor):
    source = source_of(config_for(prepared), processor)
    alone = [source.fetch(t).prompts for t in range(4)]
    together = [batch.prompts for batch in make_loader(source.fetch, 0, 4, prefetch=4, threads=4)]
    for first, second in zip(alone, together, strict=True):
        np.testing.assert_array_equal(first.patches, second.patches)


def test_fields_that_do_not_go_together(prepared, processor):
    config = config_for(prepared)
    config.data.split = "test"
    with pytest.raises(ValueError, match="no split 'test'; it holds train"):
        source_of(config, processor)
    config = config_for(prepared)
    config.data.image_root = "images"
    with pytest.raises(ValueError, match="config.data.image_root: .* leave it empty"):
        source_of(config, processor)
    config = config_for(SUPER_CLEVR)
    config.data.split = "train"
    with pytest.raises(ValueError, match="no split 'train'; it holds records: name one with config.data.split"):
        source_of(config, processor)


def test_a_picture_that_cannot_be_read_any_more_is_named(prepared, processor, tmp_path):
    found = find_parts("clevr_math", FIXTURES / "clevr-math")
    where = build(SOURCES["clevr_math"], found.parts, tmp_path, FIXTURES / "clevr-math")[0]
    source = source_of(config_for(where), processor)
    (path,) = where.glob("*array_record*")
    content = bytearray(path.read_bytes())
    content[65_536 : len(content) - 65_536] = bytes(len(content) - 131_072)
    path.write_bytes(content)
    with pytest.raises((ValueError, RecordError), match="img[12].png.*prepare the data again"):
        for t in range(3):
            source.fetch(t)
