"""Text of an item as data that cannot end its own fence."""

import re
from collections.abc import Mapping
from hashlib import sha256

_SPECIAL = re.compile(r"<(?=\|)|(?<=\|)>")  # <|im_end|>: a server's tokenizer would read a turn's end in it


def fenced(parts: Mapping[str, str]) -> str:
    """Every part by its name, between a BEGIN and an END line that carry a number made from all the text.

    A text cannot hold the number of a fence around it, since the number is a digest of the text; marks of special
    tokens are taken apart. Long runs of line breaks stay: a fence ends with its number, not with space.
    """
    clean = {name: _SPECIAL.sub("", text) for name, text in parts.items()}
    number = sha256(repr(sorted(clean.items())).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return "\n".join(f"BEGIN {name} {number}\n{text}\nEND {name} {number}" for name, text in clean.items())
