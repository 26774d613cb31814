"""The bytes a picture is stored as: an upright RGB PNG or JPEG, checked to be whole."""

import io
from dataclasses import dataclass
from typing import Any

from rrft_jax.data.decoding import open_image, opened, orientation
from rrft_jax.data.pictures import picture_file


@dataclass(frozen=True)
class EncodedImage:
    """data: a PNG or JPEG. height, width: in pixels."""

    data: bytes
    height: int
    width: int


def encode_image(image: Any) -> EncodedImage:
    """The picture of a path or stored picture. RGB PNG and JPEG files keep their bytes; anything else becomes a PNG.

    Either way `open_image` makes the same of them as of the source. Raises PictureError where it cannot be decoded.
    """
    with opened(image) as file:
        if file.mode == "RGB" and file.format in ("PNG", "JPEG") and "transparency" not in file.info:
            file.load()  # a truncated file fails here and not in the middle of training
            if orientation(file) == 1:
                return EncodedImage(_bytes(picture_file(image)), file.height, file.width)
    picture = open_image(image)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=2)  # five times faster than the default, files a sixth larger
    return EncodedImage(buffer.getvalue(), picture.height, picture.width)


def _bytes(source: Any) -> bytes:
    if isinstance(source, io.BytesIO):
        return source.getvalue()
    with open(source, "rb") as file:
        return file.read()
