"""Actions on a screen as UI-Venus writes them: Click(box=(868, 398)), Type(content='hi'), PressBack(), ..."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

# Per action: points that it needs, and texts that it may have.
ACTIONS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Click": (("box",), ()), "Drag": (("start", "end"), ()), "Scroll": (("start", "end"), ("direction",)),
    "Type": ((), ("content",)), "Launch": ((), ("app", "url")), "Wait": ((), ()), "Finished": ((), ("content",)),
    "CallUser": ((), ("content",)), "LongPress": (("box",), ()), "PressBack": ((), ()), "PressHome": ((), ()),
    "PressEnter": ((), ()), "PressRecent": ((), ()),
}  # fmt: skip
DIRECTIONS = ("down", "up", "right", "left")
_NAMES = {name.lower(): name for name in ACTIONS}
_CALL = re.compile(r"(\w{1,40})\((.*)\)", re.DOTALL)
_NUMBER = r"[-+]?\d{1,9}(?:\.\d{0,9})?"
_PAIR = rf"\s{{0,8}}({_NUMBER})\s{{0,8}},\s{{0,8}}({_NUMBER})\s{{0,8}}"
_POINT = re.compile(rf"\({_PAIR}\)|\[{_PAIR}\]")
_NAMED_POINT = re.compile(rf"\b(box|start|end)\s{{0,8}}=\s{{0,8}}(?:\({_PAIR}\)|\[{_PAIR}\])", re.IGNORECASE)
_NAMED_TEXT = re.compile(r"\s*(content|app)\s*=\s*(.*)", re.DOTALL | re.IGNORECASE)
_DIRECTION = re.compile(r"direction\s{0,8}=\s{0,8}['\"]?([a-z]{1,10})", re.IGNORECASE)


class Action(NamedTuple):
    """name: one of ACTIONS. values: by argument, a point (x, y), () for a point that is not given, or a text."""

    name: str
    values: Mapping[str, Any]

    def point(self, name: str) -> tuple[float, float] | None:
        """A point argument; None where it is not given."""
        return self.values.get(name) or None


def read_action(text: str) -> Action | None:
    """The action of a text that holds one and nothing else; None for any other text.

    Tolerated: the name's case, either bracket around points, a point or a text without its argument's name, either kind
    of quotes around a text or none. A text may hold commas, line breaks, quotes and brackets.
    """
    call = _CALL.fullmatch(text.strip())
    if call is None or call[1].lower() not in _NAMES:
        return None
    name = _NAMES[call[1].lower()]
    points, texts = ACTIONS[name]
    body = call[2].strip()
    if points:
        return _pointed(name, points, texts, body)
    if texts:
        named = _NAMED_TEXT.fullmatch(body)
        if named and named[1].lower() != texts[0]:
            return None
        text = _unquoted(named[2] if named else body)
        return Action(name, {texts[0]: text, **dict.fromkeys(texts[1:], "")})
    return Action(name, {}) if not body else None


def _pointed(name: str, points: tuple[str, ...], texts: tuple[str, ...], body: str) -> Action | None:
    found: dict[str, Any] = {}
    for key, *numbers in _NAMED_POINT.findall(body):
        found.setdefault(key.lower(), tuple(float(x) for x in numbers if x))
    if not found:
        bare = _POINT.fullmatch(f"({body})") or _POINT.fullmatch(body)
        given = [bare] if bare else list(_POINT.finditer(body))
        if given and len(given) == len(points):
            found = {
                key: tuple(float(x) for x in place.groups() if x) for key, place in zip(points, given, strict=True)
            }
    direction = _DIRECTION.search(body) if texts else None
    word = direction[1].lower() if direction and direction[1].lower() in DIRECTIONS else ""
    if set(found) == set(points) or (texts and word and not found):
        values = {key: found.get(key, ()) for key in points}
        return Action(name, values | ({"direction": word} if texts else {}))
    return None


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def read_published_action(text: str) -> Action | None:
    """As the published parser reads it, quirks included; None where that raises ValueError.

    Names in their own case; points in round brackets under their names; single quotes alone are stripped; a Scroll
    with both points loses its direction. Arguments are separated by commas outside brackets and single quotes.
    """
    call = re.fullmatch(r"(\w+)\((.*)\)", text.strip(), re.DOTALL)
    if call is None or call[1] not in ACTIONS:
        return None
    name, (points, texts) = call[1], ACTIONS[call[1]]
    given = dict(_pairs(call[2]))
    found: dict[str, Any] = {key: _round_point(given.get(key, "")) for key in points}
    if name == "Scroll":
        if all(found.values()):
            return Action(name, {**found, "direction": ""})
        if "direction" in given and not any(key in given for key in points):
            return Action(name, {**dict.fromkeys(points, ()), "direction": given["direction"].strip("'")})
        return None
    if not all(found.values()):
        return None
    return Action(name, found | {key: given.get(key, "").strip("'") for key in texts})


def _round_point(text: str) -> tuple[float, ...]:
    found = re.fullmatch(rf"\({_PAIR}\)", text)
    return (float(found[1]), float(found[2])) if found else ()


def _pairs(body: str) -> list[tuple[str, str]]:
    """The arguments `name=value`, split at commas outside round brackets and single quotes."""
    pieces, depth, quoted, start = [], 0, False, 0
    for place, letter in enumerate(body):
        if letter == "'":
            quoted = not quoted
        elif not quoted and letter in "()":
            depth += 1 if letter == "(" else -1
        elif letter == "," and not quoted and depth == 0:
            pieces.append(body[start:place])
            start = place + 1
    pieces.append(body[start:])
    split = (piece.partition("=") for piece in pieces)
    return [(key.strip(), value.strip()) for key, equals, value in split if equals]


def write_action(action: Action, whole: bool = True) -> str:
    """The action as text; `whole`: points in whole numbers."""
    spell = (lambda x: str(int(x + 0.5))) if whole else (lambda x: f"{x:g}")
    parts = []
    for key, value in action.values.items():
        if isinstance(value, tuple) and value:
            parts.append(f"{key}=({', '.join(map(spell, value))})")
        elif value and isinstance(value, str):
            parts.append(f"{key}='{value}'")
    return f"{action.name}({', '.join(parts)})"


def split_reply(text: str) -> tuple[bool, str]:
    """Whether a completion is a thought and then an action, both in closed tags, and the text of its action.

    The action is what the last closed <action> pair holds, wherever it stands; "" where there is none.
    """
    behind = text.rfind("</action>")
    start = text.rfind("<action>", 0, behind) if behind >= 0 else -1
    thought = text.find("</think>", text.find("<think>")) if "<think>" in text else -1
    return 0 <= thought < start, text[start + len("<action>") : behind].strip() if start >= 0 else ""
