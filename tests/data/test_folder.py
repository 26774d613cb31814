"""Whatever `data=` may name: files of every kind, splits, published layouts, and folders that hold nothing to read."""

import gzip
import json
import os

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from rrft_jax.data import folder as folders
from rrft_jax.data.folder import FOR_EVALUATION, kind_of_split, read_folder, read_records
from rrft_jax.data.records import RecordError
from rrft_jax.data.sources.registry import SOURCES, find_parts
from rrft_jax.data.tfds_builder import build
from tests.data.sources.real import PICTURES, published

VC = "visual_counting"


def row(id, **changes):
    return {"id": id, "image": str(PICTURES["clevr/img1.png"]), "problem": "How many?", "answer": "5"} | changes


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps(list(rows)))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    return path


def ids(records):
    return [e.id for e in records.examples]


@pytest.mark.parametrize("ending", ["json", "jsonl", "parquet"])
def test_a_file_or_its_folder(tmp_path, ending):
    path = write(tmp_path / f"mine.{ending}", row("a"), row("b", answer=" "), row("c"))
    for place in (path, tmp_path):
        records = read_folder(place, VC)
        assert ids(records) == ["a", "c"] and [p.kind for p in records.problems] == ["empty answer"]
        assert str(records.problems[0]).startswith(f"mine.{ending}, record 1 (id 'b')")
        with pytest.raises(RecordError, match="1 problems in"):
            read_folder(place, VC, strict=True)


def test_files_of_every_kind_in_one_folder_and_ids_over_all_of_them(tmp_path):
    write(tmp_path / "a.json", row("a"))
    write(tmp_path / "b.jsonl", row("b"), row("a"))
    write(tmp_path / "c.parquet", row("c"))
    records = read_folder(tmp_path, VC)
    assert ids(records) == ["a", "b", "c"]
    assert "b.jsonl, record 1 (id 'a'): id is already used by a.json, record 0" in records.report()


def test_tables_one_folder_below_as_huggingface_has_them(tmp_path):
    for shard, id in enumerate("ab"):
        write(tmp_path / "data" / f"train-{shard:05d}-of-00002.parquet", row(id))
    write(tmp_path / "data" / "test-00000-of-00001.parquet", row("t"))
    assert ids(read_folder(tmp_path, VC)) == ["a", "b"]
    assert ids(read_folder(tmp_path, VC, wanted=FOR_EVALUATION)) == ["t"]


@pytest.mark.parametrize(
    ("names", "trained", "evaluated"),
    [
        (["train", "test"], "train", "test"),
        (["train", "val", "test"], "train", "test"),
        (["train", "validation"], "train", "validation"),
        (["mine", "test"], "mine", "test"),
        (["a", "b"], "a b", "a b"),
        (["train", "more"], "train more", "more"),
        (["test"], "test", "test"),
        (["train"], "train", "train"),
    ],
)
def test_test_files_are_not_trained_on(tmp_path, names, trained, evaluated):
    for name in names:
        write(tmp_path / f"{name}.jsonl", row(name))
    records = read_folder(tmp_path, VC)
    assert set(ids(records)) == set(trained.split())
    left = set(names) - set(trained.split())
    assert ("left aside" in records.report()) == bool(left)
    assert all(f"{name}.jsonl" in records.report() for name in left)
    assert set(ids(read_folder(tmp_path, VC, wanted=FOR_EVALUATION))) == set(evaluated.split())
    for name in names:
        assert ids(read_folder(tmp_path, VC, name)) == [name]


def test_splits_that_are_not_there_or_not_one(tmp_path):
    for name in ("test", "validation"):
        write(tmp_path / f"{name}.jsonl", row(name))
    with pytest.raises(ValueError, match="holds the splits test, validation: name one with config.data.split"):
        read_folder(tmp_path, VC)
    with pytest.raises(ValueError, match="no split 'train'; it holds test, validation"):
        read_folder(tmp_path, VC, "train")


@pytest.mark.parametrize(
    ("stem", "kind"),
    [("train-00000-of-00002", "train"), ("A3-Visual-Counting-train-35k-cot", "train"), ("Geo_TEST", "test"),
     ("dev", "validation"), ("contest", ""), ("trains", ""), ("train_test", ""), ("records", "")],
)  # fmt: skip
def test_the_kind_of_a_split(stem, kind):
    assert kind_of_split(stem) == kind


def test_a_folder_without_records_says_what_can_be_read(tmp_path):
    for name in ("a.csv", "b.csv", "c.arrow"):
        (tmp_path / name).write_text("x")
    with pytest.raises(FileNotFoundError) as caught:
        read_folder(tmp_path, VC)
    for words in ("*.jsonl (one a line)", "*.parquet", "2 .csv, 1 .arrow", "launch/prepare_data.py --source=..."):
        assert words in str(caught.value)
    with pytest.raises(FileNotFoundError, match="a.csv is no record file; name a file or a folder"):
        read_folder(tmp_path / "a.csv", VC)


def test_lines_in_a_file_that_is_called_a_list(tmp_path):
    path = write(tmp_path / "mine.jsonl", row("a"), row("b"))
    with pytest.raises(RecordError, match="Extra data.*name it .jsonl if it holds a record a line"):
        read_folder(path.rename(tmp_path / "mine.json"), VC)


def test_many_tables_are_to_be_prepared(tmp_path, monkeypatch):
    write(tmp_path / "mine.parquet", row("a"))
    monkeypatch.setattr(folders, "MAX_TABLES", 100)
    with pytest.raises(ValueError, match="prepare them once:\n  python launch/prepare_data.py --source=parquet"):
        read_folder(tmp_path, VC)


def test_the_published_layout_is_read_as_it_is(tmp_path):
    folder = published(tmp_path)
    assert ids(read_folder(folder, VC)) == ["clevr-math-1", "clevr-math-2"]
    records = read_folder(folder, VC, wanted=FOR_EVALUATION)
    assert records.examples and "split test is read, of " in records.report()
    with pytest.raises(ValueError, match="has no split 'none' of visual_counting; it holds .*train"):
        read_folder(folder, VC, "none")


def test_a_prepared_set_of_ones_own(tmp_path):
    found = find_parts("jsonl", write(tmp_path / "mine.jsonl", row("a")), task=VC)
    where, *_ = build(SOURCES["jsonl"], found.parts, tmp_path / "out", tmp_path)
    for wanted in (folders.FOR_TRAINING, FOR_EVALUATION):
        assert ids(read_folder(where, VC, wanted=wanted)) == ["a"]
    with pytest.raises(ValueError, match="config.data.image_root: .* leave it empty"):
        read_folder(where, VC, image_root="images")


def test_conversations_survive_being_prepared(tmp_path):
    said = [("system", "Count."), ("user", "<image>Q1"), ("assistant", "1"), ("user", "Q2"), ("assistant", "2")]
    turns = [{"role": role, "content": text} for role, text in said]
    write(tmp_path / "train.jsonl", {"id": "a", "image": row("a")["image"], "messages": turns}, row("b"))
    before = read_folder(tmp_path / "train.jsonl", VC).examples
    found = find_parts("jsonl", tmp_path / "train.jsonl", task=VC)
    where, *_ = build(SOURCES["jsonl"], found.parts, tmp_path / "out", tmp_path)
    for old, new in zip(before, read_folder(where, VC).examples, strict=True):
        for field in ("id", "problem", "answer", "cot", "system", "history", "reply"):
            assert getattr(old, field) == getattr(new, field), field
    assert before[0].history and before[0].system == "Count."


def test_numbers_of_a_table_are_the_decimals_they_stand_for(tmp_path):
    """0.1 in 32 bits is no 0.10000000149011612, and what a table lacks is no "nan"."""
    columns = {
        "answer": pyarrow.array([0.1, 5.0, None, float("nan")], pyarrow.float32()),
        "id": pyarrow.array([1.0, 2.0, 3.0, 4.0]),
        "made": pyarrow.array([0, None, 1, 2], pyarrow.timestamp("ns")),
    }
    table = pyarrow.table({"image": [[]] * 4, "problem": ["?"] * 4} | columns)
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    records = read_records(tmp_path)
    assert [(e.id, e.answer) for e in records.examples] == [("1", "0.1"), ("2", "5")]
    assert [(p.kind, p.record) for p in records.problems] == [
        ("missing field", "record 2"), ("missing field", "record 3")
    ]  # fmt: skip
    assert "made" not in records.examples[1].metadata
    half = pyarrow.array(np.array([0.1, 7, 2.5, 0.3], np.float16))
    pyarrow.parquet.write_table(table.set_column(2, "answer", half), tmp_path / "a.parquet")
    assert [e.answer for e in read_records(tmp_path).examples] == ["0.1", "7", "2.5", "0.3"]
    decimals = pyarrow.array(["2.50", "7.00", "0.001", "12345678901234567890.5"]).cast(pyarrow.decimal128(38, 3))
    pyarrow.parquet.write_table(table.set_column(2, "answer", decimals), tmp_path / "a.parquet")
    answers = [e.answer for e in read_records(tmp_path).examples]
    assert answers == ["2.5", "7", "0.001", "12345678901234567890.5"]
    long = pyarrow.array([str(10**37 + k) for k in range(4)]).cast(pyarrow.decimal128(38, 0))
    pyarrow.parquet.write_table(table.set_column(2, "answer", long), tmp_path / "a.parquet")
    assert [e.answer for e in read_records(tmp_path).examples] == [str(10**37 + k) for k in range(4)]


def test_a_table_with_two_columns_of_one_name(tmp_path):
    columns = [pyarrow.array([value]) for value in ("a", "?", "4", "5")]
    table = pyarrow.Table.from_arrays(columns, ["id", "problem", "answer", "answer"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(RecordError, match="a.parquet: has two columns 'answer'"):
        read_records(tmp_path)


def test_times_that_are_missing_are_no_answers(tmp_path):
    times = pyarrow.array([0, None], pyarrow.timestamp("s"))
    for field in ("answer", "id", "problem"):
        table = {"image": [[]] * 2, "problem": ["?"] * 2, "answer": ["5"] * 2, "id": ["a", "b"]} | {field: times}
        pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
        records = read_records(tmp_path)
        assert len(records.examples) == 1 and [p.kind for p in records.problems] == ["missing field"], field


@pytest.mark.parametrize("ending", ["json", "jsonl", "parquet", "tar"])
def test_what_is_no_regular_file_is_listed_and_never_waited_for(tmp_path, ending):
    write(tmp_path / "good.json", row("a"))
    os.mkfifo(tmp_path / f"pipe.{ending}")
    (tmp_path / f"folder.{ending}").mkdir()
    for name, target in (("loop", "loop"), ("nowhere", "none")):
        (tmp_path / f"{name}.{ending}").symlink_to(tmp_path / f"{target}.{ending}")
    records = read_folder(tmp_path, VC)
    assert ids(records) == ["a"]
    assert [p.file for p in records.problems] == [f"{name}.{ending}" for name in ("folder", "loop", "nowhere", "pipe")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"id": 1}\n{"id": 2}\n'.encode("utf-16"), "not UTF-8 but UTF-16"),
        (gzip.compress(b"{}" * 1000, mtime=0), "not JSON but compressed: unpack it"),
        (json.dumps([row("a"), row("b")], indent=1).encode(), "holds one list of records; name it .json"),
        (json.dumps([row("a"), row("b")]).encode(), "name the file .json if it is one list of records"),
    ],
)
def test_a_file_that_is_not_lines_is_one_problem(tmp_path, content, words):
    write(tmp_path / "good.jsonl", row("a"))
    (tmp_path / "other.jsonl").write_bytes(content)
    (problem,) = read_folder(tmp_path, VC).problems
    assert problem.file == "other.jsonl" and words in problem.message


def test_files_of_records_that_are_not_read_are_named(tmp_path):
    write(tmp_path / "a.jsonl", row("a"))
    assert "not read" not in read_folder(tmp_path, VC).report()
    for name in ("b.jsonl.gz", "c.csv", "d.JSON", "e.ndjson", "notes.txt", "pictures.zip"):
        (tmp_path / name).write_text("x")
    report = read_folder(tmp_path, VC).report()
    assert "*.tar are: b.jsonl.gz, c.csv, d.JSON, e.ndjson; convert or unpack them" in report


def test_files_without_a_record_are_named(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n")
    (tmp_path / "b.json").write_text("[]")
    with pytest.raises(RecordError, match="no usable record in .*\\n  a.jsonl, b.json hold none"):
        read_folder(tmp_path, VC)
