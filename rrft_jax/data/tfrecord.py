"""TFRecord files of `tf.train.Example`, read without TensorFlow: framing (length, data, check sums) and wire format.

A record is a length of 8 bytes, 4 of a check sum, the data, 4 of a check sum (little endian). An Example is a protocol
buffer: a map from names to lists of bytes, floats or integers. Check sums are not compared: gzip has its own.
"""

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

LONGEST = 2**31  # bytes of a record; a larger length is a damaged file
_HEAD = 12
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_examples(path: Path) -> Iterator[dict[str, list]]:
    """The examples of a file, gzipped or not, in their order. ValueError that names the record where it is damaged."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    number = 0
    with (gzip.open if zipped else open)(path, "rb") as file:
        while True:
            try:
                head = file.read(_HEAD)
                if not head:
                    return
                length = struct.unpack("<Q", head[:8])[0] if len(head) == _HEAD else LONGEST
                data = file.read(length + 4) if length < LONGEST else b""
                if len(data) != length + 4:
                    raise ValueError("it ends in the middle of a record")
                example = parse_example(data[:-4])
            except (OSError, EOFError, ValueError, zlib.error) as error:
                raise ValueError(f"record {number} cannot be read ({error}); get the file again") from None
            yield example
            number += 1


def parse_example(data: bytes) -> dict[str, list]:
    """Feature name -> its values: bytes, floats or integers. ValueError for what is no tf.train.Example."""
    found: dict[str, list] = {}
    for features in _of(data, 1):
        for entry in _of(features, 1):
            fields = dict(_fields(entry))
            name, feature = fields.get(1), fields.get(2, b"")
            if not isinstance(name, bytes) or not isinstance(feature, bytes):
                raise ValueError("a feature has no name")
            found[name.decode()] = _values(feature)
    return found


def _values(feature: bytes) -> list:
    values: list = []
    for kind, content in _fields(feature):
        if not isinstance(content, bytes) or kind not in (1, 2, 3):
            raise ValueError("a feature is no list of bytes, floats or integers")
        for number, value in _fields(content):
            if number != 1:
                raise ValueError("a list has a field that is not its values")
            if kind == 1:
                values.append(value)
            elif kind == 2:
                if isinstance(value, bytes) and len(value) % 4:
                    raise ValueError("a list of floats ends in the middle of a number")
                values += struct.unpack(f"<{len(value) // 4}f", value) if isinstance(value, bytes) else [value]
            else:
                numbers = _packed(value) if isinstance(value, bytes) else [value]
                for read in numbers:
                    if not isinstance(read, int):
                        raise ValueError("a list of integers has another number")
                    values.append(_signed(read))
    return values


def _of(data: bytes, wanted: int) -> Iterator[bytes]:
    for number, value in _fields(data):
        if number == wanted:
            if not isinstance(value, bytes):
                raise ValueError("it is no tf.train.Example")
            yield value


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int | float]]:
    """(number, value) of each field of a message."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, place = _varint(data, place)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"a field is of the unknown kind {kind}")
        if place + size > len(data):
            raise ValueError("a field is longer than its message")
        part, place = data[place : place + size], place + size
        yield key >> 3, struct.unpack("<f", part)[0] if kind == _FIXED32 else part


def _packed(data: bytes) -> Iterator[int]:
    place = 0
    while place < len(data):
        value, place = _varint(data, place)
        yield value


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 70:
        byte = data[place]
        value |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return value, place
        shift += 7
    raise ValueError("a number does not end")


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
