"""Words of scripts that are written without spaces."""

import re
from collections.abc import Sequence

_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")


def is_cjk(text: str) -> bool:
    """Whether a word is in a script that writes words together."""
    return bool(_CJK.match(text))


def made_of(text: str, phrases: Sequence[str]) -> bool:
    """Whether a text without spaces is phrases in a row."""
    reached = {0}
    for place in range(len(text)):
        if place in reached:
            reached |= {place + len(phrase) for phrase in phrases if text.startswith(phrase, place)}
    return len(text) in reached
