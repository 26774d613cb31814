"""Texts of a policy or a data set as data for a judge: between marks that the texts cannot contain.

The mark is derived from the texts, so that equal items make equal messages (a cache hits), and derived anew while any
text holds it. A text would have to hold a digest of itself to close its fence, and then it gets another one.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from hashlib import sha256

_DIGITS = 16
# Control tokens of common chat templates. Many servers read them as such wherever they stand in a message.
_CONTROL = re.compile(
    r"<(?=[|｜])|[|｜](?=>)|\[(?=/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT)\])"
    r"|<(?=<?/?(?:SYS|s|bos|eos|pad|unk|start_of_turn|end_of_turn|start_of_image)>)",
    re.IGNORECASE,
)


def fenced(parts: Mapping[str, str]) -> str:
    """Each text under its title, between marks with one nonce."""
    texts = {title: disarmed(text) for title, text in parts.items()}
    mark = nonce(*texts.values())
    return "\n".join(f"[[BEGIN {title} {mark}]]\n{text}\n[[END {title} {mark}]]" for title, text in texts.items())


def nonce(*texts: str) -> str:
    """16 hexadecimal digits that none of the texts contains, in whatever case or spacing."""
    squeezed = [squeeze(text) for text in texts]
    for draw in range(1 << 20):
        found = sha256(json.dumps([draw, *texts]).encode()).hexdigest()[:_DIGITS]
        if not any(found in text for text in squeezed):
            return found
    raise ValueError("no mark that the texts do not contain")


def disarmed(text: str) -> str:
    """The text with a space inside each control token, and without lone surrogates, which no request can carry."""
    return _CONTROL.sub(r"\g<0> ", text).encode("utf-8", "replace").decode()


def squeeze(text: str) -> str:
    """Letters and digits alone, compatibility forms and case folded: texts that read alike become equal."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))
