"""The index pass: headers only, the smallest bucket that fits, over-long prompts left out by name."""

from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from rrft_jax.data.decoding import image_size
from rrft_jax.data.example import Example
from rrft_jax.data.index import Bucket, build_index
from rrft_jax.data.pictures import BytesPicture


@dataclass(frozen=True)
class WordSize:
    prompt_tokens: int
    patches: tuple[int, ...]


def measure(text, image_sizes):
    """A token a word and a 4-patch token per 28x28 pixels, counted by hand."""
    patches = tuple(4 * (h // 28) * (w // 28) for h, w in image_sizes)
    return WordSize(len(text.split()) + sum(patches) // 4, patches)


def example(id, words=3, images=()):
    return Example(id, "counting", " ".join(["word"] * words), "1", tuple(images))


SMALL = Image.new("RGB", (56, 28))  # 8 patches
LARGE = np.zeros((280, 56, 3), np.uint8)  # 80 patches
BUCKETS = [Bucket(64, 2, 80), Bucket(8, 0, 0), Bucket(8, 1, 8)]


def test_smallest_bucket_that_fits():
    examples = [example("text"), example("small", images=[SMALL]), example("large", images=[LARGE]),
                example("two", images=[SMALL, SMALL]), example("wordy", 20)]  # fmt: skip
    index = build_index(examples, lambda e: e.problem, measure, BUCKETS)
    assert index.examples == tuple(examples) and index.skipped == ()
    assert index.buckets == (Bucket(8, 0, 0), Bucket(8, 1, 8), Bucket(64, 2, 80))
    assert index.bucket_ids.tolist() == [0, 1, 2, 2, 2]
    assert [g.tolist() for g in index.groups] == [[0], [1], [2, 3, 4]]
    assert index.sizes[3] == WordSize(7, (8, 8))
    assert index.report() == "5 examples in buckets P=8 I=0 n=0: 1, P=8 I=1 n=8: 1, P=64 I=2 n=80: 3"


def test_what_fits_nowhere_is_left_out_and_counted():
    examples = [example("ok"), example("long", 65), example("three", images=[SMALL] * 3), example("fine")]
    index = build_index(examples, lambda e: e.problem, measure, BUCKETS)
    assert [e.id for e in index.examples] == ["ok", "fine"]
    assert [s.id for s in index.skipped] == ["long", "three"]
    assert "2 left out, too long for every bucket: long, three (the first: 65 prompt tokens" in index.report()
    with pytest.raises(ValueError, match="no example fits the buckets P=4"):
        build_index(examples[1:3], lambda e: e.problem, measure, [Bucket(4, 1, 8)])


def test_buckets_are_not_blamed_for_what_none_would_help():
    def refuse(example):
        raise ValueError(f"{example.id} has no cot")

    with pytest.raises(ValueError, match="no example can be used(.|\n)*1 left out, no usable target.*a has no cot"):
        build_index([example("a")], lambda e: e.problem, measure, BUCKETS, refuse)


def test_a_damaged_header_is_its_records_problem(tmp_path):
    path = tmp_path / "a.ico"
    Image.new("RGB", (16, 16)).save(path)
    content = bytearray(path.read_bytes())
    length = content.find(b"IHDR") - 4
    content[length : length + 4] = (5).to_bytes(4, "big")
    path.write_bytes(content)  # which PIL refuses with a ValueError
    index = build_index(
        [example("bad", images=[str(path)]), example("good")], lambda e: e.problem, measure, BUCKETS
    )  # fmt: skip
    assert [(s.id, s.kind) for s in index.skipped] == [("bad", "unreadable image")]


def test_the_template_counts():
    index = build_index([example("a"), example("b", 6)], lambda e: e.problem + " think first", measure, [Bucket(6)])
    assert [s.id for s in index.skipped] == ["b"] and index.sizes[0].prompt_tokens == 5


def test_headers_only_and_unreadable_files(tmp_path):
    whole, torn, noise = (tmp_path / name for name in ("whole.png", "torn.png", "noise.png"))
    Image.effect_noise((640, 480), 50).save(whole)
    torn.write_bytes(whole.read_bytes()[:200])  # enough for the header, not for the pixels
    noise.write_bytes(b"not a picture")
    assert image_size(str(whole)) == image_size(str(torn)) == (480, 640)
    assert image_size(BytesPicture(whole.read_bytes(), "stored")) == (480, 640)
    assert image_size(SMALL) == (28, 56) and image_size(LARGE) == (280, 56)
    index = build_index(
        [example("bad", images=[str(noise)]), example("gone", images=["nowhere.png"]), example("good")],
        lambda e: e.problem, measure, BUCKETS,
    )  # fmt: skip
    assert [(s.id, s.kind) for s in index.skipped] == [("bad", "unreadable image"), ("gone", "unreadable image")]
    assert "2 left out, unreadable image: bad, gone" in index.report()
