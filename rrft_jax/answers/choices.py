"""Multiple choice: the letter that a text commits to."""

import re

from rrft_jax.answers.conclusion import conclusion
from rrft_jax.answers.framing import lead_in
from rrft_jax.answers.markup import plain
from rrft_jax.answers.tokens import Unreadable, tokenize

_OPEN, _CLOSE = r"[(\[<{]", r"[)\]>}]"
# A letter with its decoration, what may follow it (a full stop, or a mark and the text of the option), and the rest.
_LETTER = re.compile(
    rf"(?P<open>{_OPEN}\s?)?(?P<letter>[A-Za-z])(?![A-Za-z'’])(?P<close>\s?{_CLOSE})?(?P<mark>\s?[.:,;、)]|\s[-–](?=\s))?"
    r"(?P<rest>.*)",
    re.DOTALL,
)
_REFERENCE = re.compile(rf"(?:option|choice|answer)?[ :]*{_OPEN}?([A-Za-z]){_CLOSE}?[.:;,]?", re.IGNORECASE)
_WITH_OPTION = re.compile(r"(?:\(([A-J])\)|([A-J])\)|([A-J])[.:、](?=\s?[\d\\$√-]))\s?\S.*", re.DOTALL)
_CORRECT = re.compile(
    r"\s(?:is|would be|must be)(?: the)?(?: only)? (?:correct|right|best|true)(?: (?:answer|option|choice|one|letter))?"
    r"|\s(?:is|would be|must be)(?: the| my)?(?: final)? (?:answer|option|choice)"
    r"|\s?(?:(?:选项|項|项)?是?正确的?(?:答案|选项)?|选项|項|项|です|입니다)",
    re.IGNORECASE,
)
_NOT_THE_OTHER = re.compile(
    rf"[,(]?\s?(?:and |but )?(?:not|rather than|instead of) {_OPEN}?[A-J]{_CLOSE}?[)]*", re.IGNORECASE
)
_OTHER_LETTER = re.compile(r"\([a-jA-J]\)|(?<![\w'])(?:[B-J](?![\w'])|A(?![\w'])(?!\s[a-z]{2}))")
_HEDGES = re.compile(
    r"\b(?:not|no|nor|or|neither|either|maybe|perhaps|possibly|wrong|incorrect|false|but|however|actually|wait|instead"
    r"|unless|except|also|both|rather|could|might|although|though|yet|none|kidding|oops|sorry|scratch|correction|doubt\w*"
    r"|unsure|uncertain|unclear|guess\w*|revis\w*)\b|n't\b|[?或不非错\n]",
    re.IGNORECASE,
)
# Options that deny something, and so sound as if they took the letter back.
_DENYING_OPTION = re.compile(
    r"\s?(?:none of (?:the above|these|them)|not enough (?:information|data)(?: given)?|no|neither|both)", re.IGNORECASE
)
_POINTER = re.compile(r"^(?:[-•→⇒∴]|=>|->)\s+")
_SEVERAL = re.compile(
    rf"{_OPEN}?[A-J]{_CLOSE}?(?:(?:\s?(?:[,;、&+和与]|,? and\b)\s?){_OPEN}?[A-J]{_CLOSE}?){{1,9}}\.?", re.IGNORECASE
)
_VALUE = re.compile(r"\s(?=[\d$\\√π(+-])")


def choice_reference(text: str) -> str | None:
    """The letter that a reference answer is, such as "B", "(B)" or "B) 12"; None for another one."""
    text = plain(text)
    found = _REFERENCE.fullmatch(text)
    if found and (found[1].isupper() or found[1] in "abcdefghij"):
        return found[1].upper()
    found = _WITH_OPTION.fullmatch(text)
    return found and (found[1] or found[2] or found[3])


def choice(text: str) -> str | None:
    """The letter that a text commits to, else None: "B", "(b).", "B) 12 cm", "The answer is B: 12".

    Two letters are no commitment, and neither is one that is denied, hedged or asked about.
    """
    text = _without_lead(text)
    found = _LETTER.fullmatch(text)
    if found is None:
        return None
    letter, rest = found["letter"], found["rest"]
    closed, mark = (found["close"] or "").strip(), (found["mark"] or "").strip()
    if bool(found["open"]) != bool(closed) and closed != ")":
        return None
    behind = (mark + rest).rstrip(" .!")
    if not rest.strip(" .!"):
        return letter.upper()
    if letter.islower() and not (closed or mark):
        return None
    if _CORRECT.fullmatch(rest.rstrip(" .!")) or _NOT_THE_OTHER.fullmatch(behind.strip()):
        return letter.upper()
    if closed or mark in tuple(".:)、-–"):
        if mark and _DENYING_OPTION.fullmatch(rest.rstrip(" .!")) or closed and _DENYING_OPTION.fullmatch(behind):
            return letter.upper()
    if mark in (",", ";") or not (closed or mark or _VALUE.match(rest)):
        return None  # neither the text of the option nor anything else that is known
    return None if _OTHER_LETTER.search(rest) or _HEDGES.search(rest) else letter.upper()


def several_reference(text: str) -> frozenset[str] | None:
    """The letters of a reference with two or more right options, "A, C" or "(A) and (C)"; None for another one, such as
    "C, A, B", whose order says something."""
    letters = _several(plain(text))
    if not letters or len(letters) < 2 or re.search(r"(?<![A-Za-z])[a-z](?![a-z])", text):
        return None
    written = re.findall(r"(?<![A-Z])[A-J](?![A-Z])", plain(text).upper())
    return letters if written == sorted(written) else None


def several(text: str) -> frozenset[str] | None:
    """All the letters that a text commits to, where it lists them and says nothing else."""
    return _several(_without_lead(text))


def _several(text: str) -> frozenset[str] | None:
    return frozenset(re.findall(r"(?<![A-Z])[A-J](?![A-Z])", text.upper())) if _SEVERAL.fullmatch(text) else None


def _without_lead(text: str) -> str:
    """From the letter on; "" where nothing is left or too much stands there."""
    text = _POINTER.sub("", conclusion(text))
    try:
        tokens = tokenize(text)
    except Unreadable:
        return ""
    begins = lead_in(tokens, letters=True)
    if 0 < begins < len(tokens) and tokens[begins].text == "=":
        begins += 1
    return text[tokens[begins].start :] if begins < len(tokens) else ""
