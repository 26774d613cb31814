"""The bytes a picture is stored as: an upright RGB PNG or JPEG, checked to be whole."""

import io
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from rrft_jax.data.pictures import eight_bits, picture_file

_ORIENTATION = 0x0112  # the EXIF tag


@dataclass(frozen=True)
class EncodedImage:
    """data: a PNG or JPEG. height, width: in pixels."""

    data: bytes
    height: int
    width: int


def encode_image(image: Any) -> EncodedImage:
    """The picture of a path or stored picture. RGB PNG and JPEG files keep their bytes; anything else becomes a PNG.

    Transparency is laid over white, as transformers does. Raises OSError with the reason where it cannot be decoded.
    """
    source = picture_file(image)
    try:
        with Image.open(source) as opened:
            opened.load()  # a truncated file fails here and not in the middle of training
            if opened.mode == "RGB" and opened.format in ("PNG", "JPEG") and "transparency" not in opened.info:
                if opened.getexif().get(_ORIENTATION, 1) == 1:
                    return EncodedImage(_bytes(source), opened.height, opened.width)
            picture = _rgb(eight_bits(ImageOps.exif_transpose(opened)))
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise OSError(str(error)) from error
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=2)  # five times faster than the default, files a sixth larger
    return EncodedImage(buffer.getvalue(), picture.height, picture.width)


def _rgb(picture: Image.Image) -> Image.Image:
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def _bytes(source) -> bytes:
    if isinstance(source, io.BytesIO):
        return source.getvalue()
    with open(source, "rb") as file:
        return file.read()
