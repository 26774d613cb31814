"""The source over a folder of real records: what it reports, skips, refuses and holds out. Pictures of Super-CLEVR."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rrft_jax.config.command_line import load_config
from rrft_jax.data.example import Example
from rrft_jax.data.records import RecordError
from rrft_jax.data.subset import linked
from rrft_jax.pretrained import resolve_init
from rrft_jax.processing.buckets import Buckets
from rrft_jax.processing.encoded import Size
from rrft_jax.processing.processor import load_processor, measure
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.algorithms import get_algorithm
from rrft_jax.training.source import make_source

ROOT = Path(__file__).parents[2]
REAL = ROOT / "tests" / "fixtures" / "super-clevr"


@pytest.fixture(scope="module")
def processor():
    return load_processor(resolve_init("nano"), max_pixels=480_000)


def config_for(folder):
    return load_config(f"{ROOT / 'configs' / 'grpo_counting.py'}:data={folder}")


def source_of(config, processor):
    task = get_task(config.task)
    check = get_algorithm(config.algorithm).check_example(config, task, processor)
    return make_source(config, task, processor, trainable=check)


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
    assert "48 examples in buckets P=480 I=1 n=1568: 48" in source.report
    assert "chosen from the data, with 2% padding; to fix them: --config.buckets.prompt=480 " in source.report
    assert "pictures before resizing, in pixels: 640x480 (48 times)" in source.report
    assert "nano has only seen rendered scenes of 112x112 pixels. Expect low scores" in source.report
    assert {size.patches for size in source.sizes} == {(1564,)}


def test_small_pictures_are_not_padded_to_large_ones(processor, tmp_path):
    """20 pictures of 64 patches; given sizes stay, with a word about what they cost."""
    rows = []
    for number in range(20):
        Image.new("RGB", (112, 112), (number, 0, 0)).save(tmp_path / f"{number}.png")
        rows.append({"id": str(number), "image": f"{number}.png", "problem": "How many?", "answer": "1"})
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = config_for(tmp_path)
    source = source_of(config, processor)
    assert [(b.images, b.patches) for b in source.buckets] == [(1, 64)] and source.buckets[0].prompt_tokens <= 128
    config.buckets.patches = (768, 1600)
    source = source_of(config, processor)
    assert source.buckets[0].patches == 768 and "chosen from the data, with" in source.report
    config.buckets = {"prompt": (320, 512), "images": (1,), "patches": (768, 1600)}
    source = source_of(config, processor)
    assert "% of the rows of these buckets is padding; --config.buckets.prompt=auto" in source.report


def test_only_nano_is_excused(processor):
    config = config_for(REAL)
    config.init = "elsewhere"
    assert "low scores" not in source_of(config, processor).report


def test_batches_of_real_pictures(processor):
    config = config_for(REAL)
    source = source_of(config, processor)
    batch = source.fetch(0)
    assert batch.prompts.patches.shape == (config.train.prompts, 1, 1568, 1176)
    np.testing.assert_array_equal(batch.prompts.patch_mask.sum((1, 2)), 1564)
    np.testing.assert_array_equal((batch.prompts.tokens == processor.image_token_id).sum(1), 391)
    assert all("Output the thinking process" in text for text in batch.texts)
    again = source_of(config, processor).fetch(0)
    np.testing.assert_array_equal(batch.prompts.prompt_id, again.prompts.prompt_id)


def test_no_picture_is_trained_on_and_held_out_whatever_the_seed(processor):
    config = config_for(REAL)
    held = set()
    for seed in range(2):
        config.seed = seed
        source = source_of(config, processor)
        out = {e.images for b in source.held_out["eval"] for e in b.examples}
        trained = {e.images for t in range(4) for e in source.fetch(t).examples}
        assert len(out) == 1 and not out & trained and "16 of 48 records held out" in source.report
        held |= out
        assert all(len(b.examples) == config.eval.batch for b in source.held_out["eval"])  # divides like training's
    assert len(held) == 1  # runs of different seeds are compared on the same questions
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


def test_records_that_share_one_of_their_pictures_stay_together():
    pictures = [("a", "b"), ("a", "c"), ("d",), ("c",), (), ("e", "d")]
    examples = [Example(f"e{i}", "visual_counting", "?", "1", images=images) for i, images in enumerate(pictures)]
    assert linked(examples) == [[0, 1, 3], [2, 5], [4]]


def test_sft_leaves_out_records_without_a_usable_target(processor, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(REAL, folder)
    records = json.loads((folder / "records.json").read_text())[:3]
    records[0]["cot"], records[1]["cot"] = "Two are red.", "Look. " * 300
    records[2].pop("cot", None)
    (folder / "records.json").write_text(json.dumps(records))
    config = load_config(f"{ROOT / 'configs' / 'cot_sft.py'}:counting,data={folder}")
    source = source_of(config, processor)
    assert "1 examples in buckets" in source.report
    assert "2 left out, no usable target: " in source.report


@pytest.mark.parametrize("name", ["reason_rft_zero", "ans_sft"])
def test_spatial_records_whose_answer_no_reward_can_read_are_left_out(processor, tmp_path, name):
    base = {"image": [], "problem": "What changed?", "answer": "change_size(0, large)"}
    answers = {"list": "['change_size(0, large)']", "words": "object 0 is large", "half": "change_size(large)"}
    records = [base | {"id": "good"}, *(base | {"id": id, "answer": answer} for id, answer in answers.items())]
    (tmp_path / "records.json").write_text(json.dumps(records))
    config = load_config(f"{ROOT / 'configs' / name}.py:spatial,data={tmp_path}")
    source = source_of(config, processor)
    assert [s["record"] for s in source.skipped] == ["words", "half"] and source.records == 2
    assert "'object 0 is large' is no sequence of functions such as change_size(7, large)" in source.report


def test_long_spatial_prompts_with_two_pictures_have_their_bucket():
    """Ours with ten objects and pictures of 480x320, and a published one of 1,300 tokens of text: a size alone
    is planned for both."""
    task, pictures = get_task("spatial_transformation"), [(320, 480), (320, 480)]
    things = ", ".join(f"('{i}','cylinder','medium','yellow','rubber')" for i in range(10))
    example = Example("e", task.name, f"The attributes of the initial objects: [{things}]", "change_size(0, large)")
    processor = load_processor(ROOT / "tests" / "fixtures" / "qwen2-tokenizer", max_pixels=480_000)
    for recipe in ("ans_sft", "cot_sft", "reason_rft", "reason_rft_zero"):
        config = load_config(f"{ROOT / 'configs' / recipe}.py:spatial,2b,data=x")
        buckets = Buckets(**config.buckets)
        for prompt in task.published:
            needed = measure(processor, task.prompt_fn(prompt, real=True)(example), pictures)
            # 480x320 pixels are 34 x 22 patches, four of which are one token.
            assert needed.patches == (748, 748) and needed.prompt_tokens > 500 + 2 * 187
            buckets.choose(needed, prompt)
        buckets.choose(Size(1300 + 2 * 187, (748, 748)), "published")


def test_pictures_that_cannot_be_used_are_left_out(processor, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(REAL, folder)
    Image.new("RGB", (3000, 10)).save(folder / "images" / "strip.png")
    whole = (folder / "images" / "superCLEVR_new_000000.png").read_bytes()
    (folder / "images" / "half.png").write_bytes(whole[: len(whole) // 2])
    records = json.loads((folder / "records.json").read_text())
    records = [{**records[0], "id": "strip", "image": "images/strip.png"}, records[16]]
    (folder / "records.json").write_text(json.dumps(records))
    config = config_for(folder)
    assert "1 left out, unusable image: strip" in source_of(config, processor).report
    records[0] = {**records[0], "id": "half", "image": "images/half.png"}
    (folder / "records.json").write_text(json.dumps(records[:1]))
    config.eval.examples = 0
    with pytest.raises(ValueError, match="example half: .*half.png.*replace the file or remove the record"):
        source_of(config, processor).fetch(0)


def test_stages_share_out_the_records_whatever_each_leaves_out(processor, tmp_path):
    """Stage 1 cannot use the records without reasoning; the others stay where they are all the same."""
    folder = tmp_path / "data"
    shutil.copytree(REAL, folder)
    records = json.loads((folder / "records.json").read_text())
    for number, record in enumerate(records):
        record["cot"] = "Two are red." if number % 3 else None
    (folder / "records.json").write_text(json.dumps(records))
    config = load_config(f"{ROOT / 'configs' / 'reason_rft.py'}:counting,data={folder}")
    config.stage1.data.range, config.data.range = (0, 16), (16, 0)
    seen = {}
    for name, stage in (("first", config.stage1), ("second", config)):
        source = source_of(stage, processor)
        steps = -(-source.records // stage.train.prompts)
        trained = {e.id for t in range(2 * steps) for e in source.fetch(t).examples}
        assert len(trained) == source.records
        seen[name] = trained, {e.id for b in source.held_out["eval"] for e in b.examples}
    (one, held_one), (two, held_two) = seen["first"], seen["second"]
    assert len(two) == 16 and 0 < len(one) < 16 and held_one < held_two
    assert not one & two and not (one | two) & held_two
