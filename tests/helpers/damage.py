"""What can happen to a small file: JSON with one thing changed, and text or bytes with some of it lost or changed."""

import copy
import json
import random
from typing import Any

ODD_VALUES = (
    None, True, False, 0, 1, -1, 3, 10**9, 10**30, 0.5, -2.5, 1e30, "", "x", "12", "\u0000", "\ud800", [], [0], ["x"],
    [[]],
    {}, {"x": 1}, {"0": None},
)  # fmt: skip
WHOLE = (
    b"", b"[]", b"null", b"{}", b"3", b'"x"', b"{", b"[" * 100_000, b"\xff\xfe{}", b'{"a": 1, "a": 2}', b"9" * 5000,
)  # fmt: skip


def damaged(content: bytes, rng: random.Random, is_json: bool = True) -> bytes:
    """`content` with one change, never the same bytes."""
    for _ in range(100):
        found = _changed(content, rng, is_json)
        if found != content:
            return found
    raise AssertionError(f"no change of {content[:80]!r} was found")


def _changed(content: bytes, rng: random.Random, is_json: bool) -> bytes:
    kind = rng.random()
    if is_json and kind < 0.65:
        value = json.loads(content)
        _change_one(value, rng)
        return json.dumps(value, indent=rng.choice((None, 1))).encode()
    if kind < 0.75:
        return rng.choice(WHOLE)
    at = rng.randrange(len(content) + 1)
    end = min(len(content), at + rng.choice((1, 1, 5, 100)))
    if kind < 0.85:
        return content[:at]
    if kind < 0.92:
        return content[:at] + rng.randbytes(end - at) + content[end:]
    return content[:at] + content[end:] if rng.random() < 0.5 else content[:at] + content[at:end] * 2 + content[end:]


def _change_one(value: Any, rng: random.Random) -> None:
    """Changes one field or element, at any depth, in place."""
    parents = []
    todo = [value]
    while todo:
        here = todo.pop()
        if here:
            parents.append(here)
        todo += [x for x in (here.values() if isinstance(here, dict) else here) if isinstance(x, dict | list)]
    if not parents:
        return
    # Half of the changes near the top: a long list of merges would get them all otherwise.
    parent = parents[0] if rng.random() < 0.5 else rng.choice(parents)
    key = rng.choice(list(parent)) if isinstance(parent, dict) else rng.randrange(len(parent))
    what = rng.random()
    if what < 0.15:
        del parent[key]
    elif what < 0.25 and isinstance(parent[key], int) and not isinstance(parent[key], bool):
        parent[key] += rng.choice((-1, 1, 1000, -(10**6)))
    elif what < 0.35:
        other = rng.choice(parents)
        parent[key] = copy.deepcopy(rng.choice(list(other.values() if isinstance(other, dict) else other)))
    else:
        parent[key] = copy.deepcopy(rng.choice(ODD_VALUES))
