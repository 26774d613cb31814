"""Data sets that the builder writes and `prepared` opens: what goes in comes out, in order, without TensorFlow."""

import dataclasses
import io
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from rrft_jax.data import tfds_builder
from rrft_jax.data.decoding import open_image
from rrft_jax.data.prepared import SKIPPED, find_prepared, listing_file, open_prepared, read_prepared
from rrft_jax.data.records import RecordError
from rrft_jax.data.sources.common import read_part
from rrft_jax.data.sources.registry import SOURCES, find_parts
from tests.data.sources.real import COUNT, GEOMETRY3K, PICTURES, SUPER_CLEVR, TRANCE, part, published

VC, ST = "visual_counting", "spatial_transformation"
ROOT = Path(__file__).parents[2]


def prepared(out, source, folder, **options):
    """The folder that `source` was prepared in, its only task."""
    found = find_parts(source, folder, **options)
    (task,) = {p.task for p in found.parts}
    return tfds_builder.build(SOURCES[source], found.parts, out, folder, told=found.problems), found


@pytest.mark.parametrize(("source", "folder"), [("trance", TRANCE), ("geometry3k", GEOMETRY3K)])
def test_what_goes_in_comes_out(tmp_path, source, folder):
    (where, written, problems), found = prepared(tmp_path, source, folder)
    assert problems == [] and where == tmp_path / source / found.parts[0].task / "1.0.0"
    for p in found.parts:
        given = read_part(p, strict=True).examples
        examples = open_prepared(where, p.split)
        assert len(examples) == len(given) == written[p.split]
        for number, (example, expected) in enumerate(zip(examples, given, strict=True)):
            row = example.images[0].rows[number]  # as other programs read it
            for field in ("id", "task", "problem", "answer", "cot", "metadata"):
                assert getattr(example, field) == getattr(expected, field)
                text = row[field].decode()
                assert (json.loads(text) if field == "metadata" else text or None) == getattr(expected, field)
            for image, file in zip(example.images, expected.images, strict=True):
                opened = open_image(image)
                assert opened.mode == "RGB" and opened.tobytes() == open_image(file).convert("RGB").tobytes()
                assert (image.height, image.width) == (opened.height, opened.width)
                assert str(image) == str(Path(file).relative_to(folder))


def test_the_real_sample_of_trance_through_the_reader(tmp_path):
    (where, _, _), _ = prepared(tmp_path, "trance", TRANCE)
    (example,) = read_prepared(where, ST, "train").examples
    assert example.answer == "change_color(2, cyan), change_position(2, behind), change_color(4, brown)"


def test_a_picture_of_many_questions_is_stored_once(tmp_path):
    (where, written, _), _ = prepared(tmp_path, "super_clevr", SUPER_CLEVR)
    examples = open_prepared(where, "train")
    assert written == {"train": 48} and len({e.images[0].key for e in examples}) == 3
    assert [e.images[0].row for e in examples] == [0] * 16 + [16] * 16 + [32] * 16
    assert sum(path.stat().st_size for path in where.iterdir()) < 2 * 1024 * 1024
    assert examples[47].images[0].read() == examples[32].images[0].read() != examples[0].images[0].read()


def test_a_listing_that_is_not_of_the_data_is_named(tmp_path):
    (where, _, _), _ = prepared(tmp_path, "super_clevr", SUPER_CLEVR)
    file = listing_file(where, "train")
    lines = file.read_text().splitlines(keepends=True)
    for text, said in (
        ("".join(lines[:-1]), "lists 47 records of the 48 there are"),
        ("".join(lines)[:-30], "is damaged"),
        ("{}\n" * 48, "is damaged"),
    ):
        file.write_text(text)
        with pytest.raises(RecordError, match=f"records_train.jsonl {said}.*prepare the data again, with --overwrite"):
            read_prepared(where, VC)
    file.unlink()
    with pytest.raises(RecordError, match="records_train.jsonl is missing, .*prepare the data again"):
        read_prepared(where, VC)


def test_order_is_that_of_the_source_over_any_shards(tmp_path, monkeypatch):
    orders = []
    for size in (256, 5, 1):
        monkeypatch.setattr(tfds_builder, "SHARD", size)
        (where, _, _), found = prepared(tmp_path / str(size), "super_clevr", SUPER_CLEVR)
        assert len(list(where.glob("*train.array_record*"))) == -(-48 // size)
        orders.append([(e.id, e.images[0].read()) for e in open_prepared(where, "train")])
    assert orders[0] == orders[1] == orders[2]
    assert [id for id, _ in orders[0]] == [e.id for e in read_part(found.parts[0]).examples]


NAME = "A3-Visual-Counting-train-35k-cot.json"


@pytest.fixture
def damaged(tmp_path):
    """Good records among bad ones of each kind, a picture cut in half, a file with no task."""
    half = PICTURES["clevr/img1.png"].read_bytes()[:5000]
    records = [
        COUNT,
        COUNT | {"id": "lost", "image": "none.png"},
        COUNT | {"id": "half", "image": ["clevr/img1.png", "half.png"]},
        COUNT | {"id": "empty", "answer": ""},
        COUNT,
        COUNT | {"id": "last", "image": []},
    ]
    folder = published(tmp_path / "damaged", files={NAME: records, "things.json": [COUNT]})
    (folder / "half.png").write_bytes(half)
    return folder


def test_what_is_left_out_is_told_and_kept(tmp_path, damaged):
    (where, written, problems), _ = prepared(tmp_path / "out", "reason_rft", damaged)
    kinds = ["unknown task", "missing image", "unreadable image", "empty answer", "duplicate id"]
    assert [p.kind for p in problems] == kinds and written == {"train": 2}
    unreadable = str(problems[2])
    assert f"{NAME}, record 2 (id 'half')" in unreadable and "half.png" in unreadable
    assert "replace the file or remove the record" in unreadable
    kept = [json.loads(line) for line in (where / SKIPPED).read_text().splitlines()]
    assert [(line["split"], line["kind"]) for line in kept] == list(zip(["", *["train"] * 4], kinds, strict=True))
    records = read_prepared(where, VC)
    assert [e.id for e in records.examples] == ["clevr-math-1", "last"] and list(records.problems) == problems
    assert records.examples[1].images == () and "2 records read, 5 skipped" in records.report()
    with pytest.raises(RecordError, match="5 problems when .* was prepared"):
        read_prepared(where, VC, strict=True)
    found = find_parts("reason_rft", damaged)
    assert [p.kind for p in tfds_builder.check(found.parts)] == kinds[1:]


def test_any_character_of_a_record_is_kept(tmp_path):
    """Beside what is asked may stand what UTF-8 cannot hold, and a report may quote what some take for a line's end."""
    base = {"image": [], "problem": "Wie viele Wörter? 几个\u2028?", "answer": "5"}
    rows = [base | {"id": "ü\u2028", "note": "\ud83d 几"}, base | {"id": "lost", "image": "a\u2028\x85.png"}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = find_parts("jsonl", tmp_path, task=VC)
    where, _, problems = tfds_builder.build(SOURCES["jsonl"], found.parts, tmp_path / "out", tmp_path)
    records = read_prepared(where, VC)
    assert records.examples == read_part(found.parts[0]).examples
    assert list(records.problems) == problems and [p.kind for p in problems] == ["missing image"]


def test_a_split_without_a_usable_record_leaves_nothing_behind(tmp_path, damaged):
    records = json.loads((damaged / NAME).read_text())
    (damaged / NAME).write_text(json.dumps(records[1:4]))
    with pytest.raises(RecordError, match="(?s)no usable record for train of reason_rft; correct it.*none.png"):
        prepared(tmp_path / "out", "reason_rft", damaged)
    assert list((tmp_path / "out").glob("**/*array_record*")) == []
    assert find_prepared(tmp_path / "out", VC) is None


def test_a_killed_run_is_started_again(tmp_path):
    code = f"""
import os, signal
from rrft_jax.data import tfds_builder
from rrft_jax.data.sources.registry import SOURCES, find_parts
found = find_parts("super_clevr", {str(SUPER_CLEVR)!r})
left = iter(range(30))
tick = lambda n: next(left, None) is not None or os.kill(os.getpid(), signal.SIGKILL)
tfds_builder.build(SOURCES["super_clevr"], found.parts, {str(tmp_path)!r}, {str(SUPER_CLEVR)!r}, tick)
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (left,) = (tmp_path / "super_clevr" / VC).iterdir()
    assert left.name.startswith("incomplete.") and find_prepared(tmp_path, VC) is None
    (where, written, _), _ = prepared(tmp_path, "super_clevr", SUPER_CLEVR)
    assert written == {"train": 48} and find_prepared(tmp_path, VC) == where


def test_a_source_that_grows_is_not_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds_builder, "SHARD", 16)
    found = find_parts("super_clevr", SUPER_CLEVR)
    grown = [dataclasses.replace(found.parts[0], count=1)]
    with pytest.raises(RecordError, match="train of super_clevr grew while it was read"):
        tfds_builder.build(SOURCES["super_clevr"], grown, tmp_path, SUPER_CLEVR)
    assert find_prepared(tmp_path, VC) is None


def test_finding_what_was_prepared(tmp_path):
    prepared(tmp_path, "trance", TRANCE)
    (where, _, _), _ = prepared(tmp_path, "super_clevr", SUPER_CLEVR)
    for folder in (tmp_path, tmp_path / "super_clevr", where.parent, where):
        assert find_prepared(folder, VC) == where
    with pytest.raises(ValueError, match="holds several prepared data sets: .*super_clevr.*trance.*name one"):
        find_prepared(tmp_path)
    with pytest.raises(ValueError, match="prepared for another task than structure_perception"):
        find_prepared(where, "structure_perception")
    with pytest.raises(ValueError, match="no split 'test'; it holds train: set config.data.split"):
        open_prepared(where, "test")
    with pytest.raises(RecordError, match="of visual_counting, not of spatial_transformation"):
        read_prepared(where, ST)
    shutil.copy(where / "dataset_info.json", tmp_path)  # LLaMA-Factory's is called so too
    assert find_prepared(tmp_path, VC) is None
    assert find_prepared(SUPER_CLEVR, VC) is None


def test_a_damaged_data_set_is_named(tmp_path):
    (where, _, _), _ = prepared(tmp_path, "super_clevr", SUPER_CLEVR)
    image = open_prepared(where, "train")[40].images[0]
    (path,) = where.glob("*array_record*")
    content = bytearray(path.read_bytes())
    content[100_000:900_000] = bytes(800_000)
    path.write_bytes(content)
    with pytest.raises(OSError, match="prepare the data again"):
        image.read()
        open_prepared(where, "train")[20].images[0].read()


def test_a_stored_picture_is_a_plain_image_file(tmp_path):
    (where, _, _), found = prepared(tmp_path, "geometry3k", GEOMETRY3K)
    data = open_prepared(where, "train")[0].images[0].read()
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG" and image.mode == "RGB"
    assert part(found, "structure_perception", "train").count == 3


def test_no_tensorflow(tmp_path):
    """In a process of its own: it builds, reads and decodes."""
    code = f"""
import io, sys
from PIL import Image
from rrft_jax.data import tfds_builder
from rrft_jax.data.prepared import open_prepared
from rrft_jax.data.sources.registry import SOURCES, find_parts
found = find_parts("trance", {str(TRANCE)!r})
where, _, _ = tfds_builder.build(SOURCES["trance"], found.parts, {str(tmp_path)!r}, {str(TRANCE)!r})
Image.open(io.BytesIO(open_prepared(where, "train")[0].images[0].read())).load()
print("found", *(name for name in ("tensorflow", "torch", "apache_beam") if name in sys.modules))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["found"]
