"""One picture in every form that files have, against its eight bits; and what is refused, by its header if possible."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from rrft_jax.data.decoding import MAX_PIXELS, PictureError, image_size, open_image
from rrft_jax.data.encoded_image import encode_image
from rrft_jax.data.pictures import BytesPicture
from tests.timing import within

GRAY = np.tile(np.arange(0, 252, 3, dtype=np.uint8), (56, 1))  # 0 ... 249
WIDE = GRAY.astype(np.uint16) * 257


def saved(image, format="PNG", name="picture", **options) -> BytesPicture:
    out = io.BytesIO()
    image.save(out, format, **options)
    return BytesPicture(out.getvalue(), name)


def tiff(values: np.ndarray, bits: int, kind: int = 1, white_is_zero: bool = False) -> BytesPicture:
    """An uncompressed TIFF of one strip, written by hand. kind: 1 unsigned, 2 signed, 3 floating point."""
    if bits == 12:
        first, second = values[:, ::2].astype(int), values[:, 1::2].astype(int)
        packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1)
        data = packed.astype(np.uint8).tobytes()
    else:
        data = values.tobytes()
    height, width = values.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 0 if white_is_zero else 1, 273: 8, 277: 1, 278: height,
            279: len(data), 339: kind}  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    return BytesPicture(head + data + struct.pack("<H", len(tags)) + entries + bytes(4), "by hand.tiff")


def pgm(values: np.ndarray, most: int) -> BytesPicture:
    height, width = values.shape
    return BytesPicture(b"P5 %d %d %d\n" % (width, height, most) + values.astype(">u2").tobytes(), "picture.pgm")


def pfm(values: np.ndarray) -> BytesPicture:
    height, width = values.shape
    return BytesPicture(b"Pf\n%d %d\n-1.0\n" % (width, height) + values[::-1].astype("<f4").tobytes(), "picture.pfm")


DEPTHS = {
    "16-bit PNG": saved(Image.fromarray(WIDE)),
    "16-bit TIFF": saved(Image.fromarray(WIDE), "TIFF"),
    "16-bit TIFF, big-endian": saved(Image.fromarray(WIDE.astype(">u2")), "TIFF"),
    "16-bit TIFF, compressed": saved(Image.fromarray(WIDE), "TIFF", compression="tiff_lzw"),
    "16-bit TIFF, white is 0": tiff(65535 - WIDE, 16, white_is_zero=True),
    "12-bit TIFF": tiff(GRAY.astype(int) * 4095 // 255, 12),
    "16-bit JPEG 2000": saved(Image.fromarray(WIDE), "JPEG2000"),
    "16-bit PGM": pgm(WIDE, 65535),
    "12-bit PGM": pgm(GRAY.astype(int) * 4095 // 255, 4095),
    "16 signed bits": tiff((WIDE // 2).astype("<i2"), 16, 2),
    "32-bit integers of 16 bits": saved(Image.fromarray(WIDE.astype(np.int32)), "TIFF"),
    "32-bit integers of 8 bits": saved(Image.fromarray(GRAY.astype(np.int32)), "TIFF"),
    "32-bit integers, all": tiff(GRAY.astype("<u4") * 0x01010101, 32),
    "32 signed bits, all": tiff((GRAY.astype("<i8") * (2**31 - 1) // 255).astype("<i4"), 32, 2),
    "floats to 1": saved(Image.fromarray(GRAY.astype(np.float32) / 255), "TIFF"),
    "floats to 255": saved(Image.fromarray(GRAY.astype(np.float32)), "TIFF"),
    "floats to 65535": saved(Image.fromarray(WIDE.astype(np.float32)), "TIFF"),
    "floats, white is 0": tiff(1 - GRAY.astype("<f4") / 255, 32, 3, white_is_zero=True),
    "PFM": pfm(GRAY / 255),
    "8 bits": saved(Image.fromarray(GRAY)),
}


@pytest.mark.parametrize("name", DEPTHS)
def test_a_gradient_is_the_same_in_every_depth(name):
    """To one gray level, read from a file and out of what is prepared."""
    stored = encode_image(DEPTHS[name])
    for source in (DEPTHS[name], BytesPicture(stored.data, "prepared")):
        image = open_image(source)
        assert image.mode == "RGB" and (stored.height, stored.width) == (image.height, image.width) == GRAY.shape
        assert np.abs(np.asarray(image).astype(int) - GRAY[..., None]).max() <= 1


@pytest.mark.parametrize(
    "values",
    [
        np.full((4, 4), np.nan, "f4"), np.full((4, 4), np.inf, "f4"), np.array([[0, -0.5]], "f4"),
        np.array([[0, 3.5]], "f4"), np.array([[0, 4000]], "f4"), np.array([[0, 1e6]], "f4"),
        np.array([[0, -1]], "i4"), np.array([[0, -1]], "i2"), np.array([[0, 1023]], "i4"), np.array([[0, 10**6]], "i4"),
    ],
)  # fmt: skip
def test_a_picture_whose_white_is_not_known_is_refused(values):
    """As negative ones are, and those of 10 or 12 bits in 32: which of the depths it is, is a guess."""
    picture = tiff(values, 8 * values.itemsize, 3 if values.dtype.kind == "f" else 2)
    with pytest.raises(PictureError, match="by hand.tiff: cannot be read .*save it with 8 bits.*replace the file"):
        open_image(picture)
    with pytest.raises(PictureError):
        encode_image(picture)


COLOURS = np.random.default_rng(0).integers(0, 256, (9, 14, 4), np.uint8)


def colour_forms():
    rgba, color = Image.fromarray(COLOURS), Image.fromarray(COLOURS[..., :3])
    on_white = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    palette = color.quantize(16)
    holes = np.where((np.asarray(palette) == 3)[..., None], np.uint8(255), np.asarray(palette.convert("RGB")))
    clear = color.getpixel((0, 0))
    keyed = np.where((COLOURS[..., :3] == clear).all(-1, keepdims=True), np.uint8(255), COLOURS[..., :3])
    yield "transparent PNG", saved(rgba), on_white
    yield "transparent WebP", saved(rgba, "WEBP", lossless=True, exact=True), on_white
    yield "transparent TIFF", saved(rgba, "TIFF"), on_white
    yield "transparent gray", saved(rgba.convert("LA")), rgba.convert("LA").convert("RGBA")
    yield "a clear colour", saved(color, transparency=clear), keyed
    yield "a clear gray", saved(Image.fromarray(GRAY), transparency=6), np.where(GRAY == 6, 255, GRAY)
    yield "a clear gray of 16 bits", saved(Image.fromarray(WIDE), transparency=6 * 257), np.where(GRAY == 6, 255, GRAY)
    yield "a palette with a hole", saved(palette, transparency=3), holes
    yield "a palette in a GIF", saved(palette, "GIF", transparency=3), holes
    yield "CMYK", saved(color.convert("CMYK"), "TIFF"), color
    yield "1 bit", saved(color.convert("1")), color.convert("1")
    yield "BMP", saved(color, "BMP"), color
    yield "PPM", saved(color, "PPM"), color
    yield "TGA", saved(color, "TGA"), color
    yield "JPEG 2000", saved(color, "JPEG2000", irreversible=False), color


@pytest.mark.parametrize(("name", "picture", "expected"), colour_forms(), ids=lambda value: str(value)[:24])
def test_colours_and_transparency(name, picture, expected):
    if isinstance(expected, Image.Image):
        white = Image.new("RGBA", expected.size, "white")
        expected = np.asarray(Image.alpha_composite(white, expected.convert("RGBA")).convert("RGB"))
    expected = np.broadcast_to(expected if expected.ndim == 3 else expected[..., None], (*expected.shape[:2], 3))
    np.testing.assert_array_equal(np.asarray(open_image(picture)), expected)
    np.testing.assert_array_equal(np.asarray(open_image(BytesPicture(encode_image(picture).data, "p"))), expected)


def test_a_laboratory_colour_is_no_alpha():
    for lightness in (0, 255):
        color = open_image(Image.new("LAB", (2, 2), (lightness, 128, 128))).getpixel((0, 0))
        np.testing.assert_allclose(color, lightness, atol=2)
    assert open_image(Image.new("LA", (2, 2), (10, 255)).convert("La")).getpixel((0, 0)) == (10, 10, 10)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first(format):
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "lime", "blue")]
    picture = saved(frames[0], format, save_all=True, append_images=frames[1:], **{"lossless": True} if format == "WEBP" else {})  # noqa: E501
    assert open_image(picture).getpixel((3, 3)) == (255, 0, 0)
    assert open_image(BytesPicture(encode_image(picture).data, "p")).getpixel((3, 3)) == (255, 0, 0)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "PNG 16", "AVIF"])
def test_every_orientation(format, turn):
    """Gray of 16 bits is turned too. The corner that is white tells."""
    pixels = np.zeros((16, 32), np.uint8)
    pixels[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = turn
    image = Image.fromarray(pixels.astype(np.uint16) * 257) if format == "PNG 16" else Image.fromarray(pixels)
    image = image if format == "PNG 16" else image.convert("RGB")
    picture = saved(image, format.split()[0], exif=exif)
    ways = {1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.T,
            6: np.rot90(pixels, -1), 7: pixels[::-1, ::-1].T, 8: np.rot90(pixels)}  # fmt: skip
    for source in (picture, BytesPicture(encode_image(picture).data, "p")):
        got = np.asarray(open_image(source))[..., 0]
        np.testing.assert_array_equal(got > 127, ways[turn] > 127)


def test_damaged_exif_data_do_not_cost_the_picture():
    exif = Image.Exif()
    exif[0x0112] = 6
    for format in ("PNG", "JPEG"):
        data = saved(Image.new("RGB", (8, 6), "red"), format, exif=exif).data
        start = data.index(b"MM\0*" if b"MM\0*" in data else b"II*\0")
        damaged = data[:start] + b"XXXX" + data[start + 4 :]
        if format == "PNG":  # whose checksum would tell
            at = damaged.index(b"eXIf")
            length = struct.unpack(">I", damaged[at - 4 : at])[0]
            crc = struct.pack(">I", zlib.crc32(damaged[at : at + 4 + length]))
            damaged = damaged[: at + 4 + length] + crc + damaged[at + 8 + length :]
        assert open_image(BytesPicture(damaged, "p")).size == (8, 6)


def bombs():
    for format in ("PNG", "TIFF", "GIF", "BMP"):
        yield saved(Image.new("1", (13_000, 13_000)), format, f"bomb.{format}", **({"compression": "group4"} if format == "TIFF" else {}))  # noqa: E501
    yield BytesPicture(b"P5 60000 60000 255\n", "bomb.ppm")


def test_a_picture_that_fills_the_memory_is_refused_by_its_header():
    for picture in bombs():
        for read in (open_image, image_size, encode_image):
            with pytest.raises(PictureError, match=f"{picture.name}: .*pixels.*make it smaller.*replace") as caught:
                within(0.5, read, picture)
            assert caught.value.reason in str(caught.value)
    small = saved(Image.new("1", (100, 100)))
    assert open_image(small, 10_000).size == (100, 100)
    with pytest.raises(PictureError, match="100x100 pixels are more than 9999"):
        open_image(small, 9_999)
    assert MAX_PIXELS == Image.MAX_IMAGE_PIXELS


def test_whatever_a_reader_raises_names_the_picture(monkeypatch, tmp_path):
    """As the one of AVIF raises a RuntimeError."""
    whole = saved(Image.new("RGB", (64, 64), "red"), "AVIF", "a.avif")
    meta = whole.data.index(b"meta")
    for data in (whole.data[:60], whole.data[: meta + 40] + bytes(80) + whole.data[meta + 120 :]):
        with pytest.raises(PictureError, match="a.avif: cannot be read as an image .*replace the file or remove"):
            open_image(BytesPicture(data, "a.avif"))
    for error in (RuntimeError("odd"), MemoryError(), struct.error("unpack"), KeyError(3), OverflowError("too large")):

        def fail(*args, error=error, **options):
            raise error

        monkeypatch.setattr(Image, "open", fail)
        for read in (open_image, image_size, encode_image):
            with pytest.raises(PictureError, match="a.avif: cannot be read as an image"):
                read(whole)
    monkeypatch.undo()
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(PictureError, match="folder.png: cannot be read as an image"):
        open_image(tmp_path / "folder.png")
    with pytest.raises(PictureError, match="drawing.eps: .*it is none of PNG, JPEG"):  # which would run Ghostscript
        open_image(saved(Image.new("RGB", (8, 8)), "EPS", "drawing.eps"))


SEEDS = [
    *DEPTHS.values(),
    *(picture for _, picture, _ in colour_forms()),
    saved(Image.fromarray(COLOURS[..., :3]), "JPEG"),
    saved(Image.fromarray(COLOURS[..., :3]), "AVIF"),
    saved(Image.fromarray(COLOURS[..., :3]), "ICO"),
    saved(Image.fromarray(COLOURS[..., :3]), "PCX"),
    saved(Image.fromarray(COLOURS[..., :3]), "SGI"),
    saved(Image.fromarray(COLOURS[..., :3]), "QOI"),
    saved(Image.fromarray(COLOURS[..., :3]), "DIB"),
    saved(Image.fromarray(COLOURS[..., :3]), "TIFF", compression="jpeg"),
    saved(Image.fromarray(COLOURS[..., :3]), "TIFF", compression="tiff_deflate"),
    saved(Image.fromarray(COLOURS[..., 0]).convert("1"), "TIFF", compression="group4"),
]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A few bytes of the first 200 changed to what readers stumble over, a piece of the file moved or lost."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(min(len(data), 200))
        match rng.randrange(5):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                size = rng.choice((1, 2, 4, 8))
                data[at : at + size] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * size
            case 3:
                del data[at : at + rng.randint(1, 16)]
            case _:
                data[at:at] = data[rng.randrange(len(data)) :][: rng.randint(1, 16)]
        if not data:
            break
    return bytes(data[: rng.randint(0, len(data))] if rng.random() < 0.1 else data)


def read_and_store(picture: BytesPicture) -> None:
    height, width = image_size(picture)
    image = open_image(picture)
    assert image.mode == "RGB" and {image.height, image.width} == {height, width}
    stored = encode_image(picture)
    again = open_image(BytesPicture(stored.data, "stored"))
    assert again.tobytes() == image.tobytes() and (stored.width, stored.height) == again.size, picture.name


def read_mutants(count: int, seed: int) -> int:
    """How many of `count` can be read still, each within ten seconds. Nothing but a PictureError may come out."""
    rng = random.Random(seed)
    good = 0
    for number in range(count):
        picture = BytesPicture(mutated(SEEDS[number % len(SEEDS)].data, rng), f"mutant {seed}/{number}")
        try:
            within(10, read_and_store, picture)
            good += 1
        except PictureError as error:
            assert str(error).startswith(f"{picture.name}: cannot be read as an image ("), error
            assert "\n" not in str(error) and error.reason
    return good


@pytest.mark.filterwarnings("ignore")
def test_mutated_headers_are_read_or_refused_by_name():
    assert 200 < read_mutants(2_000, 1) < 1_900


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_many_mutated_headers_are_read_or_refused_by_name():
    assert 2_000 < read_mutants(20_000, 2) < 19_000
