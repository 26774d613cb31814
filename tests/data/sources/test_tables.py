"""A user's own JSON Lines and Parquet files."""

import json
import os
import shutil

import pyarrow
import pyarrow.parquet
import pytest

from rrft_jax.data.decoding import open_image
from rrft_jax.data.records import RecordError
from rrft_jax.data.sources.common import read_part, split_name
from rrft_jax.data.sources.registry import find_parts
from tests.data.sources.real import PICTURES, part

VC, SP = "visual_counting", "structure_perception"
PATH = PICTURES["clevr/img1.png"]


def row(**changes):
    return {"id": "r1", "image": str(PATH), "problem": "How many?", "answer": "5"} | changes


def write_lines(path, *rows):
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def write_table(path, *rows):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path, row_group_size=2)
    return path


def test_lines_of_one_task(tmp_path):
    path = write_lines(tmp_path / "mine.jsonl", row(), "", row(id="r2", cot="By eye.", source="me"))
    (part,) = find_parts("jsonl", path, task=VC).parts
    assert (part.task, part.split, part.count) == (VC, "mine", 2)
    first, second = read_part(part, strict=True).examples
    assert (first.images, first.answer, first.cot) == ((str(PATH),), "5", None)
    assert second.cot == "By eye." and second.metadata == {"source": "me", "file": "mine.jsonl", "record": 2}


def test_each_record_may_name_its_task(tmp_path):
    rows = [row(task=VC), row(id="r2", task="geomath"), row(id="r3", task="painting"), row(id="r4")]
    write_lines(tmp_path / "train.jsonl", *rows)
    found = find_parts("jsonl", tmp_path)
    assert {(p.task, p.split, p.count) for p in found.parts} == {(VC, "train", 1), (SP, "train", 1)}
    assert [e.id for e in read_part(part(found, SP, "train"), strict=True).examples] == ["r2"]
    unknown, none = found.problems
    assert unknown.kind == none.kind == "unknown task"
    assert "record 2 (id 'r3'): task 'painting' is unknown" in str(unknown) and "--task" in unknown.message
    assert "record 3 (id 'r4'): has no task" in str(none)


def test_pictures_of_a_parquet_file_in_every_form(tmp_path):
    data = PATH.read_bytes()
    forms = {
        "bytes": data,
        "huggingface": {"bytes": data, "path": "img1.png"},
        "nameless": {"bytes": data, "path": None},
        "by_path": {"bytes": None, "path": str(PATH)},
        "list": [{"bytes": data, "path": "a.png"}, {"bytes": data, "path": "b.png"}],
        "path": str(PATH),
    }
    for name, image in forms.items():
        write_table(tmp_path / f"{name}.parquet", row(image=image), row(id="r2", image=image))
        (part,) = find_parts("parquet", tmp_path / f"{name}.parquet", task=VC).parts
        for example in read_part(part, strict=True).examples:
            assert len(example.images) == (2 if name == "list" else 1)
            for image in example.images:
                assert open_image(image).tobytes() == open_image(PATH).tobytes(), name


def test_shards_of_a_split_and_nulls(tmp_path):
    (tmp_path / "data").mkdir()
    for shard, ids in enumerate((("a", "b", "c"), ("d",))):
        rows = [row(id=id, images=[str(PATH)], cot="c" if id == "a" else None, image=None) for id in ids]
        write_table(tmp_path / "data" / f"train-{shard:05d}-of-00002.parquet", *rows)
    (part,) = find_parts("parquet", tmp_path, task=VC).parts
    examples = read_part(part, strict=True).examples
    assert part.split == "train" and [e.id for e in examples] == ["a", "b", "c", "d"]
    assert [e.cot for e in examples] == ["c", None, None, None] and len(examples[0].images) == 1


def test_paths_start_at_the_folder_of_the_file_or_at_the_one_given(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "data").mkdir()
    shutil.copy(PATH, tmp_path / "images" / "above.png")
    shutil.copy(PATH, tmp_path / "data" / "beside.png")
    shutil.copy(PATH, tmp_path / "both.png")
    shutil.copy(PATH, tmp_path / "data" / "both.png")
    names = ("above.png", "beside.png", "both.png")
    write_lines(tmp_path / "data" / "train.jsonl", *[row(id=name, image=name) for name in names])
    (part,) = find_parts("jsonl", tmp_path, task=VC).parts
    found = [e.images[0] for e in read_part(part, strict=True).examples]
    assert found == [str(tmp_path / p) for p in ("images/above.png", "data/beside.png", "data/both.png")]
    (part,) = find_parts("jsonl", tmp_path, task=VC, image_root="data").parts
    assert [e.id for e in read_part(part).examples] == ["beside.png", "both.png"]


@pytest.mark.parametrize(
    ("stem", "split"),
    [
        ("train-00000-of-00002", "train"),
        ("train-00001-of-00002-0123456789abcdef", "train"),
        ("My set (v2)", "my_set_v2"),
        ("---", "train"),
        ("all", "all_records"),
    ],
)
def test_the_split_of_a_file(stem, split):
    assert split_name(stem) == split


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"image": "none.png"}, "missing image", "'none.png' is not at"),
        ({"answer": " "}, "empty answer", "answer is empty"),
        ({"id": "good"}, "duplicate id", "already used by train."),
        ({"answer": None}, "missing field", "neither answer nor solution"),
    ],
)
def test_a_bad_row_is_named(tmp_path, ending, changes, kind, words):
    write = write_lines if ending == "jsonl" else write_table
    write(tmp_path / f"train.{ending}", row(id="good"), row(id="bad") | changes)
    (part,) = find_parts(ending, tmp_path, task=VC).parts
    records = read_part(part)
    assert [e.id for e in records.examples] == ["good"]
    (problem,) = records.problems
    assert problem.kind == kind and str(problem).startswith(f"train.{ending}, record 1") and words in problem.message
    with pytest.raises(RecordError):
        read_part(part, strict=True)


def test_damaged_files(tmp_path):
    write_lines(tmp_path / "a.jsonl", row(), '{"id":', "[1]", '{"id": %s}' % ("1" * 5000))
    found = find_parts("jsonl", tmp_path, task=VC)
    cut, wrong, long = found.problems
    assert long.kind == "bad JSON" and "not JSON that can be read" in long.message
    assert cut.kind == "bad JSON" and "correct or remove line 2" in cut.message and "is a list" in wrong.message
    assert len(read_part(found.parts[0], strict=True).examples) == 1
    path = write_table(tmp_path / "b.parquet", row())
    path.write_bytes(path.read_bytes()[:-10])
    (bad,) = find_parts("parquet", path, task=VC).problems
    assert bad.kind == "bad Parquet" and "write or get it again" in bad.message


def test_a_value_that_python_has_no_type_for(tmp_path):
    """Nanoseconds, in which pandas writes dates, are kept as text; text in another encoding costs its row alone."""
    text = pyarrow.array([b"How many?", b"Wie viele W\xf6rter?", b"How many?"])
    table = pyarrow.Table.from_pylist([row(id=id) for id in "abc"]).drop_columns(["problem"])
    table = table.append_column("problem", pyarrow.Array.from_buffers(pyarrow.string(), 3, text.buffers()))
    times = [pyarrow.array([1, 2, 3], kind) for kind in (pyarrow.timestamp("ns"), pyarrow.duration("ns"))]
    table = table.append_column("made", times[0]).append_column("took", times[1])
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    found = find_parts("parquet", tmp_path, task=VC)
    records = read_part(found.parts[0])
    assert found.problems == () and [e.id for e in records.examples] == ["a", "c"]
    assert records.examples[0].metadata["made"].startswith("1970-01-01 00:00:00.000000001")
    (problem,) = records.problems
    assert str(problem).startswith("train.parquet, record 1: a value cannot be read ('utf-8' codec can't decode byte")


def test_damage_in_the_column_of_pictures_is_found_when_it_is_read(tmp_path):
    table = pyarrow.Table.from_pylist([row(task=VC, image=os.urandom(5000))])
    path = tmp_path / "train.parquet"
    pyarrow.parquet.write_table(table, path, compression="gzip", use_dictionary=False)
    group = pyarrow.parquet.ParquetFile(path).metadata.row_group(0)
    columns = (group.column(i) for i in range(group.num_columns))
    offset = next(c.data_page_offset for c in columns if c.path_in_schema == "image")
    content = bytearray(path.read_bytes())
    content[offset + 2000 : offset + 2100] = bytes(100)
    path.write_bytes(content)
    found = find_parts("parquet", path)
    assert found.problems == ()
    (bad,) = read_part(found.parts[0]).problems
    assert bad.kind == "bad Parquet"


def test_missing_files(tmp_path):
    for source in ("jsonl", "parquet"):
        with pytest.raises(FileNotFoundError, match=f"is no .{source} file and no folder with one"):
            find_parts(source, tmp_path)
    write_lines(tmp_path / "a.jsonl", row())
    with pytest.raises(FileNotFoundError, match="--image_root=.*none does not exist"):
        find_parts("jsonl", tmp_path, task=VC, image_root="none")
