"""The one way to read a picture, for training, preparing, evaluating and serving: upright RGB of 8 bits, or an error.

Gray of more than 8 bits is scaled by the depth that the file states. 32-bit integers and floating-point numbers state
none: the smallest usual white that holds them (1, 255, 65535) is taken, and a picture refused where that is a guess.
"""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from rrft_jax.data.pictures import picture_file

# No format that runs another program (EPS) or describes a drawing.
FORMATS = (
    "PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "DIB", "ICO", "PCX", "QOI", "SGI", "TGA"
)  # fmt: skip
MOST_PIXELS = 2**30 // 4 // 3  # a quarter of a gigabyte as RGB, where PIL starts to warn; 9,459 pixels squared
ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF tags
_WHITE_IS_ZERO, _UNSIGNED = 0, 1


class PictureError(OSError):
    """A picture that cannot be read: its text names picture, reason and remedy. reason: without the other two."""

    def __init__(self, message: str, reason: str = ""):
        super().__init__(message)
        self.reason = reason


def open_image(image: Any, most_pixels: int = MOST_PIXELS) -> Image.Image:
    """The RGB image of a PIL image, a uint8 array [h, w], [h, w, 3] or [h, w, 4], a local file, or a stored picture.

    A stored picture is an object whose read() gives an encoded image. Files are turned upright by their EXIF tag;
    transparency is laid over white, as transformers does; of several frames or pages the first is taken. Raises
    PictureError for a file that cannot be read or has more than `most_pixels`, which its header tells.
    """
    if isinstance(image, Image.Image):
        return rgb(image)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or not (image.ndim == 2 or image.ndim == 3 and image.shape[2] in (3, 4)):
            form = f"{image.dtype}{list(image.shape)}"
            raise ValueError(f"an image array must be uint8 [h, w], [h, w, 3] or [h, w, 4], not {form}")
        return rgb(Image.fromarray(image))
    with opened(image, most_pixels) as file:
        picture, turn = rgb(file), _TURNS.get(orientation(file))
        return picture if turn is None else picture.transpose(turn)


def image_size(image: Any, most_pixels: int = MOST_PIXELS) -> tuple[int, int]:
    """(height, width) in pixels of a PIL image, a uint8[h, w, 3] array, a stored picture or a file.

    Of a file only the header is read, so neither its orientation (which changes no number of patches) nor damage behind
    the header is seen; of a picture in a prepared data set nothing is read. Raises PictureError as `open_image` does.
    """
    if isinstance(image, np.ndarray):
        return image.shape[0], image.shape[1]
    if hasattr(image, "height"):
        return image.height, image.width
    with opened(image, most_pixels) as file:
        return file.height, file.width


def quiet_pillow() -> None:
    """For the start of a program: Pillow's warnings about damaged tags and large pictures name no file. What matters of
    them is a PictureError with the file's name, or does not change the picture."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


@contextmanager
def opened(image: Any, most_pixels: int = MOST_PIXELS) -> Generator[Image.Image]:
    """PIL's image of a file or stored picture, pixels not yet read. What PIL raises inside too is a PictureError."""
    if not (isinstance(image, str | Path) or hasattr(image, "read")):
        raise TypeError(f"an image is a PIL image, a uint8 array or a path, not {type(image).__name__}")
    try:
        with Image.open(picture_file(image), formats=FORMATS) as file:
            if file.width * file.height > most_pixels:
                raise ValueError(f"{file.width}x{file.height} pixels are more than {most_pixels}: make it smaller")
            yield file
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{image}: no such image file; check the image root of the data") from error
    except Exception as error:  # PIL's readers raise errors of every type at damaged files
        raise _unreadable(image, error) from error


def _unreadable(image: Any, error: Exception) -> PictureError:
    if isinstance(error, UnidentifiedImageError):
        reason = f"it is none of {', '.join(FORMATS)}, or its header is damaged"
    elif isinstance(error, Image.DecompressionBombError):
        reason = f"{error}: make it smaller"
    else:
        reason = " ".join(str(error).split()) or type(error).__name__
    message = f"{image}: cannot be read as an image ({reason}); replace the file or remove the record"
    return PictureError(message, reason)


def orientation(file: Image.Image) -> int:
    """The EXIF tag, 1: upright, as is a loaded file without EXIF data or with such that cannot be read."""
    try:
        return file.getexif().get(ORIENTATION, 1)
    except Exception:
        return 1


def rgb(picture: Image.Image) -> Image.Image:
    """Any PIL image as RGB, not turned. Raises ValueError where its values have no known scale or its colours none."""
    picture.load()
    if picture.mode[0] in "IF":
        picture = _eight_bits(picture)
    elif picture.mode in _WITH_ALPHA or "transparency" in picture.info:
        clear = picture.info.get("transparency")
        if isinstance(clear, tuple) and max(clear) > 255:  # the one clear colour of a PNG of 16 bits
            picture.info["transparency"] = tuple(value >> 8 for value in clear)
        picture = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (255, 255, 255, 255)), picture)
    return picture.convert("RGB") if picture.mode != "RGB" else picture


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Gray of more than eight bits, of which PIL's conversion to RGB would make all but the darkest white."""
    tags = getattr(picture, "tag_v2", {})
    values = np.asarray(picture)
    if picture.mode.startswith("I;16"):
        gray = values >> (tags.get(_BITS, (16,))[0] - 8)
    elif picture.format == "PPM" and picture.mode == "I":  # which PIL has scaled to 16 bits
        gray = values >> 8
    else:
        unsigned = picture.mode == "I" and tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0] == _UNSIGNED
        half = tags.get(_BITS, (32,))[0] == 16  # and a sign
        gray = _scaled(values.view(np.uint32) if unsigned else values.astype(np.int16) if half else values)
    gray = gray.astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        gray = 255 - gray
    if picture.mode.startswith("I;16") and "transparency" in picture.info:
        gray[values == picture.info["transparency"]] = 255
    return Image.fromarray(gray)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Values of a picture that does not say what its white is, in 0 ... 255."""
    low, high = values.min(), values.max()
    whites = (1, 255, 65535) if values.dtype.kind == "f" else (255, 65535, np.iinfo(values.dtype).max)
    whites = whites[2:] if values.dtype == np.int16 else whites
    white = next((w for w in whites if high <= w), 0)
    # Values far below the white of their depth are as likely of a depth in between, such as 10 or 12 bits.
    if not (low >= 0 and white and (white == whites[0] or high * 16.0 >= white)):
        raise ValueError(f"what is white among its values of {low:g} to {high:g} is not known: save it with 8 bits")
    return np.rint(np.multiply(values, 255.0 / white, dtype=np.float32))
