"""Pictures as they are stored: upright RGB, whole, and unchanged where they can be."""

import io

import numpy as np
import pytest
from PIL import Image
from transformers.image_transforms import convert_to_rgb

from rrft_jax.data.decoding import open_image
from rrft_jax.data.encoded_image import encode_image
from rrft_jax.data.pictures import BytesPicture


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 255, (9, 14, 4), np.uint8)


def saved(image, **how) -> BytesPicture:
    buffer = io.BytesIO()
    image.save(buffer, **how)
    return BytesPicture(buffer.getvalue(), "picture")


def decoded(encoded) -> Image.Image:
    image = Image.open(io.BytesIO(encoded.data))
    assert image.mode == "RGB" and (encoded.height, encoded.width) == (image.height, image.width)
    return image


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_rgb_files_keep_their_bytes(pixels, format, tmp_path):
    picture = saved(Image.fromarray(pixels[..., :3]), format=format)
    assert encode_image(picture).data == picture.data
    (tmp_path / "file").write_bytes(picture.data)
    assert encode_image(str(tmp_path / "file")) == encode_image(picture)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "P", "CMYK", "1"])
def test_other_modes_become_what_transformers_makes_of_them(pixels, mode):
    image = Image.fromarray(pixels).convert(mode)
    picture = saved(image, format="JPEG" if mode == "CMYK" else "PNG")
    expected = convert_to_rgb(Image.open(io.BytesIO(picture.data)), return_numpy=True)
    np.testing.assert_array_equal(np.asarray(decoded(encode_image(picture))), expected)


def test_a_photograph_is_turned_upright(pixels):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture = saved(Image.fromarray(pixels[..., :3]), format="PNG", exif=exif)
    turned = np.asarray(decoded(encode_image(picture)))
    np.testing.assert_array_equal(turned, np.rot90(pixels[..., :3], -1))


def test_sixteen_bits_of_gray_keep_their_shades(tmp_path):
    shades = np.arange(0, 65536, 512, dtype=np.uint16).reshape(8, 16)
    picture = saved(Image.fromarray(shades), format="PNG")
    expected = np.repeat((shades // 256).astype(np.uint8)[..., None], 3, axis=-1)
    np.testing.assert_array_equal(np.asarray(decoded(encode_image(picture))), expected)
    np.testing.assert_array_equal(np.asarray(open_image(picture).convert("RGB")), expected)


def test_damaged_files_are_refused(pixels, monkeypatch):
    whole = saved(Image.fromarray(pixels), format="PNG")
    for data in (whole.data[: len(whole.data) // 2], b"no picture", b""):
        with pytest.raises(OSError):
            encode_image(BytesPicture(data, "half"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(OSError, match="exceeds limit"):
        encode_image(whole)
