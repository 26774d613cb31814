"""Units of measure and counted things, which follow a number: "cm²", "km/h", "sq. units", "large red cubes"."""

from rrft_jax.answers import units, vocabulary
from rrft_jax.answers.scripts import is_cjk, made_of
from rrft_jax.answers.tokens import Token, Unreadable

Node = tuple
Found = tuple[Node, int]  # what was read, and where it ends

_CLOSING = {"(": ")", "[": "]"}
_MAX_WORDS = 4
_ENDS_A_NOUN = (vocabulary.BEHIND - vocabulary.ADJECTIVES - vocabulary.NOUNS) | {"and", "or"}


def read_unit(tokens: list[Token], place: int, behind: Node) -> Found | None:
    """The unit at a place of a term, ("unit", ((name, exponent), ...)); `behind` is what stands before it."""
    opening = _text(tokens, place)
    if opening in _CLOSING:
        inner = read_unit(tokens, place + 1, behind)
        closed = inner is not None and _text(tokens, inner[1]) == _CLOSING[opening]
        return (inner[0], inner[1] + 1) if closed else None
    first = _one_unit(tokens, place, behind)
    if first is None:
        return None
    (name, power), place = first
    found = [(name, power)]
    while place < len(tokens):
        sign = _text(tokens, place) if _text(tokens, place) in ("/", "*", "per") else ""
        following = _one_unit(tokens, place + bool(sign), None)
        if following is None or (not sign and following[0][1] > 0):  # "m s^{-1}" is one unit, "ft in" is not
            break
        (name, power), place = following
        found.append((name, power if sign in ("*", "") else -power))
    return ("unit", tuple(found)), place


def read_thing(tokens: list[Token], place: int, behind: Node) -> Found | None:
    """The nouns behind a count, ("thing", noun): adjectives, and a plural or a known noun at the end."""
    if behind[0] not in ("number", "neg"):
        return None
    words: list[str] = []
    for token in tokens[place : place + _MAX_WORDS + 1]:
        word = token.text.casefold()
        if token.kind != "word" or word in _ENDS_A_NOUN:
            break
        if is_cjk(word) and not words:
            return (("thing", ""), place + 1) if made_of(word, vocabulary.BEHIND_CJK) else None
        if is_cjk(word) or len(words) == _MAX_WORDS or not token.gap or _changes_a_count(word, token.text):
            return None
        words.append(word)
    if not words or not _is_plural(words[-1]):
        return None
    return ("thing", words[-1]), place + len(words)


def is_measured(node: Node) -> bool:
    """Whether a term ends in a unit or a thing, behind which no factor follows."""
    return node[0] == "mul" and node[2][0] in ("unit", "thing")


def is_numeric(node: Node) -> bool:
    """Whether an expression holds no letters but π and e."""
    if node[0] == "letter":
        return node[1] in ("pi", "e")
    return all(is_numeric(part) for part in node[1:] if isinstance(part, tuple) and part and isinstance(part[0], str))


def _text(tokens: list[Token], place: int) -> str:
    return tokens[place].text if place < len(tokens) else ""


def _one_unit(tokens: list[Token], place: int, behind: Node | None) -> tuple[tuple[str, int], int] | None:
    """(unit, exponent) and where it ends. behind: None within a unit, where a letter is no variable."""
    if place >= len(tokens):
        return None
    token, power = tokens[place], 1
    if token.kind == "symbol":
        return _sign(tokens, place)
    if token.text.lower() in units.POWERS and place + 1 < len(tokens):
        power, place = units.POWERS[token.text.lower()], place + 1
        token = tokens[place]
    unit = units.unit_of(token.text) if token.kind == "word" else None
    if unit is None:
        return None
    if token.text in units.LETTERS and behind is not None:
        spaced = token.gap or token.text not in units.SPACED_LETTERS
        if not spaced or not is_numeric(behind):
            return None
    raised, place = _power(tokens, place + 1)
    return (unit[0], unit[1] * power * raised), place


def _sign(tokens: list[Token], place: int) -> tuple[tuple[str, int], int] | None:
    text, scale = tokens[place].text, _text(tokens, place + 1).lower()
    if text == "°" and scale in ("c", "f", "celsius", "fahrenheit"):
        return (f"°{scale[0].upper()}", 1), place + 2
    return ((units.UNITS[text], 1), place + 1) if text in units.UNITS else None


def _power(tokens: list[Token], place: int) -> tuple[int, int]:
    """The exponent behind a unit, 1 where there is none, and where it ends: cm2, cm^2, cm^{-1}, cm squared."""
    text = _text(tokens, place)
    if text in ("2", "3") and not tokens[place].gap:
        return int(text), place + 1
    if text.lower() in units.POWERS_BEHIND:
        return units.POWERS_BEHIND[text.lower()], place + 1
    if text != "^":
        return 1, place
    texts = [token.text for token in tokens[place + 1 : place + 5]]
    braced = texts[:1] == ["{"]
    texts = texts[1:] if braced else texts
    sign, digits = (-1, texts[1:2]) if texts[:1] == ["-"] else (1, texts[:1])
    if not digits or digits[0] not in tuple("123456789") or (braced and texts[1 if sign > 0 else 2 :][:1] != ["}"]):
        raise Unreadable("a unit to a strange power")
    return sign * int(digits[0]), place + 2 + (sign < 0) + 2 * braced


def _changes_a_count(word: str, written: str) -> bool:
    """Whether a word behind a number says how much or how often, or is no word of a language."""
    if word in vocabulary.QUANTITIES or word in vocabulary.CARDINALS or "half" in word:
        return True
    if any(scale in word for scale in vocabulary.SCALES):
        return True
    return word.isascii() and (len(word) < 2 or (written.isupper() and len(word) < 5))


def _is_plural(word: str) -> bool:
    if word in vocabulary.NOUNS:
        return True
    return len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "ths", "llions", "lliards"))
