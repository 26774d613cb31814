"""Compare an answer with the reference where plain text and exact numbers suffice, in microseconds.

`decide` answers True, False, or None for "only algebra can tell", which goes to `symbolic`.
"""

import re
from fractions import Fraction

from rrft_jax.rewards import transforms

# Bounded digits and exponents: "1e999999999" must not become a number of that size.
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d{1,30})?(?:\.\d{1,30})?(?:[eE][-+]?\d{1,2})?"
_SIGNED = re.compile(rf"[-+]?\s?(?=[\d.]){_NUMBER}")
_LONE = re.compile(rf"(?<![\w.,])[-+]?(?=\.?\d){_NUMBER}")
_FRACTION = re.compile(r"([-+]?\d{1,30})\s*/\s*(\d{1,30})")
# What may not stand beside a lone number: anything but words, units and punctuation.
_COMPUTES = re.compile(r"[\d_π]|[^\w\s.,;:!?'\"()°-]")
_WRAPPERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), (r"\boxed{", "}"), (r"\text{", "}"))
# Numbers side by side, with nothing between them that computes: "3 or 4", "3, 4", "3 4".
_SEVERAL = re.compile(r"\d\s*(?:,\s|[;&]|\s|\b(?:or|and|to)\b)[\s,;]*(?:(?:or|and|to)\b\s*)?[-+]?\.?\d")
_CHOICE_GOLD = re.compile(r"\(?([A-D])\)?[.:]?")
_CHOICE = re.compile(r"\(?([A-Da-d])\)?(?:[.:)](?P<rest>.*))?", re.DOTALL)
_CHOICE_SAID = re.compile(r"\b(?i:answer|option|choice)(?: is|:| )[ :]*\(?([A-D])\)?(?![\w'])")
_ANOTHER_CHOICE = re.compile(r"[\s.,;/&]*(?:(?:or|and)\s)?\s*\(?[A-D]\)?\s*(?:[.,:;)/]|$)", re.IGNORECASE)


def decide(answer: str, gold: str) -> bool | None:
    """Whether `answer` equals `gold`; None when that takes a symbolic check.

    Equal text (case and spacing aside) is equal. A gold letter A-D is matched as a multiple choice: "(B)", "b",
    "B. 2", "The answer is B". A gold number is matched by value, 5.0 == 5, also when it is the only number among
    words: "4 apples". Two commitments ("A or B", "3 or 4", "3, 4") are none. A gold sequence of functions asks for the
    same functions, in any order.
    """
    answer, gold = clean(answer), clean(gold)
    if not answer:
        return False
    if answer.casefold() == gold.casefold():
        return True
    if transforms.is_sequence(gold):
        return transforms.same(transforms.read(answer), transforms.read(gold))
    letter = _CHOICE_GOLD.fullmatch(gold)
    if letter:
        return choice(answer) == letter.group(1)
    if re.fullmatch(r"[A-Za-z ]+", gold):
        return False
    wanted = number(gold)
    if wanted is None:
        return None
    given = number(answer)
    if given is None:
        given = lone_number(answer)
    if given is not None:
        return same_number(given, wanted)
    if _SEVERAL.search(answer) or ("%" in answer and wanted.denominator == 1):
        return False
    # Words alone ("none", "four") hold nothing that algebra could turn into a number.
    return None if re.search(r"[\d\\]|[^\x00-\x7f]", answer) else False


def clean(text: str) -> str:
    """Text without wrapping that carries no meaning: $..$, \\(..\\), \\boxed{..}, **..**, full stop, double spaces."""
    text = " ".join(text.replace("\u2212", "-").split()).strip("* ")
    for opened, closed in _WRAPPERS:
        inner = text[len(opened) : len(text) - len(closed)]
        if len(text) > len(opened) + len(closed) and text.startswith(opened) and text.endswith(closed):
            # "$1$ or $2$" and "\boxed{1} and {2}" start and end alike without being wrapped.
            if opened.rstrip("{") not in inner and closed not in inner:
                text = inner.strip()
    return text[:-1].rstrip() if text.endswith(".") else text


def number(text: str) -> Fraction | None:
    """The exact value of a text that is one number: 5, 5.0, -1,200.5, .5, 2e3, 3/4. Never nan or infinite."""
    text = text.strip()
    fraction = _FRACTION.fullmatch(text)
    if fraction:
        below = int(fraction.group(2))
        return Fraction(int(fraction.group(1)), below) if below else None
    return _value(text) if _SIGNED.fullmatch(text) else None


def lone_number(text: str) -> Fraction | None:
    """The value of the only number in a text of words: "There are 4.", "10 cm", "4 apples"; else None."""
    found = list(_LONE.finditer(text))
    if len(found) != 1 or not found[0].group().strip():
        return None
    before, behind = text[: found[0].start()], text[found[0].end() :]
    # "4x" is a product and "x-4" a difference: neither is the number in it.
    glued = re.match(r"[^\W\d_](?![^\W\d_])", behind) or before.rstrip().endswith("-")
    if glued or _COMPUTES.search(before) or _COMPUTES.search(behind):
        return None
    return _value(found[0].group())


def same_number(a: Fraction, b: Fraction) -> bool:
    """Equal after rounding to 6 decimals, the precision of math-verify; integers exactly."""
    return abs(a - b) < Fraction(1, 2_000_000)


def choice(text: str) -> str | None:
    """The letter A-D that a text commits to, else None."""
    found = _CHOICE.fullmatch(text)
    if found:
        hedged = found["rest"] and _ANOTHER_CHOICE.match(found["rest"])
        return None if hedged else found.group(1).upper()
    said = set(_CHOICE_SAID.findall(text))
    return said.pop() if len(said) == 1 else None


def _value(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace(" ", "").rstrip("."))
