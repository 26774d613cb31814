"""Tar files as WebDataset writes them: what is read, from where, and all that is refused."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from rrft_jax.data.decoding import open_image
from rrft_jax.data.folder import read_folder
from rrft_jax.data.records import RecordError
from rrft_jax.data.sources.registry import find_parts
from rrft_jax.data.sources.webdataset import open_tar


def png(shade):
    out = io.BytesIO()
    Image.fromarray(np.full((6, 9, 3), shade, np.uint8)).save(out, "PNG")
    return out.getvalue()


def entry(k, **changes):
    return json.dumps({"problem": f"How many of {k}?", "answer": str(k)} | changes).encode()


def write(path, *members):
    """members: (name, content), or a TarInfo without content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return path


def header(name, kind, size, extended=False):
    """A header of GNU tar as no program writes it."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    block[124:136] = size.to_bytes(12, "big", signed=True) if size < 0 else b"%011o\0" % size
    block[148:157] = b" " * 8 + kind
    block[482] = extended
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def whole(path, low, high):
    pairs = [[(f"{k:04d}.png", png(10 * k)), (f"{k:04d}.json", entry(k))] for k in range(low, high)]
    return write(path, *sum(pairs, []))


def said(records):
    return [(e.id, e.answer, *(int(np.asarray(open_image(i))[0, 0, 0]) for i in e.images)) for e in records.examples]


def test_a_file_a_folder_and_a_pattern_read_the_same_records(tmp_path):
    for k in range(3):
        whole(tmp_path / "shards" / f"train-{k:03d}.tar", 2 * k, 2 * k + 2)
    whole(tmp_path / "shards" / "test-000.tar", 7, 9)
    every = [(f"{k:04d}", str(k), 10 * k) for k in range(6)]
    shards = tmp_path / "shards"
    assert said(read_folder(shards / "train-001.tar", "vqa")) == every[2:4]
    for reference in (shards, tmp_path, f"{shards}/train-*.tar", f"{shards}/train-{{000..002}}.tar"):
        assert said(read_folder(str(reference), "vqa")) == every
    assert [e.id for e in read_folder(shards, "vqa", "test").examples] == ["0007", "0008"]
    with pytest.raises(FileNotFoundError, match="train-003.tar does not exist"):
        read_folder(f"{shards}/train-{{000..003}}.tar", "vqa")
    parts = find_parts("webdataset", shards, task="vqa").parts
    assert {part.split: [e.id for e in part.items()] for part in parts} == {
        "test": ["0007", "0008"], "train": [id for id, *_ in every],
    }  # fmt: skip
    with pytest.raises(ValueError, match="not streamed, since the order of records is a function"):
        read_folder("https://some.where/train-{000..002}.tar", "vqa")
    with pytest.raises(ValueError, match="is compressed, so no member can be read at its place"):
        read_folder(tmp_path / "a.tar.gz", "vqa")


def test_fields_of_other_names_texts_conversations_and_several_pictures(tmp_path):
    turns = [{"role": "user", "content": "<image><image>which?"}, {"role": "assistant", "content": "B"}]
    path = write(
        tmp_path / "a.tar",
        ("dir/0.jpg.png", png(3)), ("dir/0.problem.txt", b"how many?\n"), ("dir/0.cls", b"4"),
        ("dir/1.0.png", png(1)), ("dir/1.1.png", png(2)),
        ("dir/1.json", json.dumps({"messages": turns, "cls": 1}).encode()),
        ("dir/2.json", entry(5, images=["./pics/x.png"], cls="9")), ("pics/x.png", png(8)),
        ("dir/3.json", entry(6, images=[], cls="6")),
    )  # fmt: skip
    records = read_folder(path, "vqa")
    assert said(records)[:1] == [("dir/1", "B", 1, 2)]
    found = read_folder(path, "vqa", columns=("answer=cls",))
    assert [row for row in said(found) if row[0] != "dir/1"] == [("dir/0", "4", 3), ("dir/2", "9", 8), ("dir/3", "6")]


def test_everything_wrong_is_listed_with_file_and_member(tmp_path):
    link, out = tarfile.TarInfo("1.png"), tarfile.TarInfo("../../etc/2.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    path = write(
        tmp_path / "a.tar", ("0.png", png(0)), ("0.json", entry(0)), link, ("1.json", entry(1)), out,
        ("3.png", png(3)), ("4.json", entry(4)), ("5.png", png(5)), ("5.json", b"{"), ("6.png", png(6)),
        ("6.json", entry(6)), ("6.json", entry(7)), ("7.json", entry(7, image="/etc/hostname")),
        ("8.json", entry(8, image="../secret.png")),
    )  # fmt: skip
    (tmp_path / "secret.png").write_bytes(png(1))
    records = read_folder(path, "vqa")
    assert said(records) == [("0", "0", 0), ("6", "6", 6)]
    listed = {p.record.partition(" (id")[0]: str(p) for p in records.problems}
    for member, words in {
        "member 1.png": "is a link", "member ../../etc/2.png": "leads out of the file",
        "member 6.json": "is there twice",
        "record 1 (member 1)": "has no picture beside 1.json", "record 2 (member 3)": "holds 3.png and no 3.json",
        "record 3 (member 4)": "add 4.jpg", "record 4 (member 5)": "not valid JSON",
        "record 6": "image '/etc/hostname' is not at", "record 7": "image '../secret.png' is not at",
    }.items():  # fmt: skip
        assert words in listed[member] and listed[member].startswith("a.tar, "), (member, listed)
    with pytest.raises(RecordError, match="9 problems"):
        read_folder(path, "vqa", strict=True)


def test_damage_keeps_what_lies_before_it_and_is_never_silent(tmp_path):
    content = whole(tmp_path / "whole.tar", 0, 8).read_bytes()
    path = tmp_path / "cut.tar"
    members = list(open_tar(tmp_path / "whole.tar").members.values())
    rng = np.random.default_rng(0)
    ends = [0, 100, 511, 512, *(m.offset - 512 for m in members[1:]), *rng.integers(0, members[-1].offset, 60).tolist()]
    for end in ends:
        path.write_bytes(content[:end])
        tar = open_tar(path)
        assert tar.problems and all(p.kind == "bad tar" and p.file == "cut.tar" for p in tar.problems), end
        for name, member in tar.members.items():
            assert member.offset + member.size <= end and name in dict.fromkeys(m.member for m in members)
    for member in members[1:]:  # a flipped bit in a header
        damaged = bytearray(content)
        damaged[member.offset - 512 + 3] ^= 4
        path.write_bytes(damaged)
        tar = open_tar(path)
        assert [p.kind for p in tar.problems] == ["bad tar"] and len(tar.members) == members.index(member)
        assert f"behind member {members[members.index(member) - 1].member}" in tar.problems[0].message
    back = header("2.json", tarfile.REGTYPE, -1024)  # tarfile would read 1.json and this again and again
    sparse = header("3.json", tarfile.GNUTYPE_SPARSE, 0, extended=True)  # whose map goes on behind the end
    for hostile in (back, sparse):
        path.write_bytes(header("0.json", tarfile.REGTYPE, 0) + header("1.json", tarfile.REGTYPE, 0) + hostile)
        tar = open_tar(path)
        assert list(tar.members) == ["0.json", "1.json"] and "behind member 1.json" in tar.problems[0].message
    picture = members[0]
    path.write_bytes(content)
    kept = next(iter(open_tar(path).members.values()))
    path.write_bytes(content[: picture.offset + 5])
    with pytest.raises(OSError, match="cut.tar:0000.png: its file ends before it does"):
        kept.read()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("0.json", entry(0)), ("0.answer.txt", b"5")], "0.answer.txt and another member differ in answer"),
        ([("0.json", entry(0)), ("0.meta.json", b'{"answer": "5"}')], "0.meta.json and another member differ"),
        ([("0.json", entry(0)), ("0.PNG", png(1))], "has 0.PNG and 0.png; keep the right one"),
        ([("0.json", entry(0)), ("0.mp4", b"x")], "holds 0.mp4, which is not read"),
        ([("0.problem.txt", b"Q\xff"), ("0.answer.txt", b"5")], "0.problem.txt is not UTF-8 text at byte 1; save"),
    ],
)
def test_members_of_which_one_would_be_lost_are_listed(tmp_path, members, words):
    path = write(tmp_path / "a.tar", ("0.png", png(0)), *members, ("1.png", png(1)), ("1.json", entry(1)))
    records = read_folder(path, "vqa")
    assert said(records) == [("1", "1", 1)]
    assert words in records.report() and "a.tar, record 0 (member 0): " in records.report()


def test_texts_with_a_mark_numbers_and_ten_pictures(tmp_path):
    pictures = [(f"0.{k}.png", png(k)) for k in range(11)]
    texts = [("1.problem.txt", b"\xef\xbb\xbfQ?"), ("1.answer.txt", b"\xef\xbb\xbf4"), ("1.png", png(9))]
    records = read_folder(write(tmp_path / "a.tar", ("0.json", entry(0, answer=5.0)), *pictures, *texts), "vqa")
    assert said(records) == [("0", "5", *range(11)), ("1", "4", 9)] and records.examples[1].problem == "Q?"


def test_what_lies_behind_the_end_is_not_passed_by(tmp_path):
    first, second = (whole(tmp_path / f"{k}.tar", k, k + 1).read_bytes() for k in range(2))
    path = tmp_path / "joined.tar"
    path.write_bytes(first + second)
    records = read_folder(path, "vqa")
    assert said(records) == [("0000", "0", 0)]
    assert [p.kind for p in records.problems] == ["bad tar"] and "holds more behind its end" in records.report()
