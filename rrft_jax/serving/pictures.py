"""Images that come inside a request. Nothing is fetched: a server that opens any address it is told to can be turned
against its own network."""

import base64
import binascii
import re
from urllib.parse import unquote

from PIL import Image

from rrft_jax.data.decoding import PictureError, image_size, open_image
from rrft_jax.data.pictures import BytesPicture
from rrft_jax.serving.protocol import ApiError, PictureUrl

# Before resizing, of one picture and of a request's together: a small file can hold a picture that fills the memory.
MAX_PIXELS, MAX_TOGETHER = 50_000_000, 100_000_000
_DATA = re.compile(r"\s*data:image/[\w.+-]+(?:;[\w.+-]+=[^;,]*)*;base64,", re.ASCII | re.IGNORECASE)
_STANDARD = str.maketrans("-_", "+/")  # from the alphabet for file names and URLs


def read_picture(picture: PictureUrl, room: int = MAX_TOGETHER) -> Image.Image:
    """The RGB image of a data: URL, upright, of which there may be `room` pixels. Raises ApiError (400) that names the
    place in the request."""
    head = _DATA.match(picture.url)
    if not head:
        shown = picture.url[:40] + ("..." if len(picture.url) > 40 else "")
        advice = "this server fetches nothing; send the image as data:image/png;base64,..."
        raise ApiError(400, f"{picture.param}={shown!r}: {advice}", picture.param, "invalid_image_url")
    try:
        data = decode_base64(picture.url[head.end() :])
    except (binascii.Error, ValueError):
        raise _bad(picture, "its base64 is damaged") from None
    stored = BytesPicture(data, picture.param)
    try:
        height, width = image_size(stored, MAX_PIXELS)
        if height * width > room:
            raise _bad(picture, f"with it the images of the request have more than {MAX_TOGETHER} pixels")
        return open_image(stored, MAX_PIXELS)
    except PictureError as error:
        raise _bad(picture, error.reason) from None


def decode_base64(text: str) -> bytes:
    """Base64 as clients write it: in lines or in one, with or without padding, of either alphabet, percent-encoded or
    not. Raises ValueError where it is something else."""
    if "%" in text:
        text = unquote(text)
    text = "".join(text.split()).translate(_STANDARD).rstrip("=")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _bad(picture: PictureUrl, why: str) -> ApiError:
    return ApiError(400, f"{picture.param}: not a readable image ({why})", picture.param, "invalid_image")
