"""The words around an answer, all of which must be known: "The total number of cubes is", "... in the picture"."""

from rrft_jax.answers import vocabulary
from rrft_jax.answers.expression import FUNCTIONS
from rrft_jax.answers.scripts import is_cjk, made_of
from rrft_jax.answers.tokens import GREEK, Token

_CONDITIONS = frozenset({"if", "when", "where"})
_COPULAS = frozenset({"is", "are", "was", "be", "equals"})
_FIGURES = frozenset({"angle", "triangle", "odot"})

# What two words in a row mean for what may follow them, where it is not what the second alone means.
_ALLOWED = {(noun, "of"): "is" for noun in vocabulary.OF} | {
    ("y", "a"): "is",
    ("left", "with"): "is",
    ("can", "be"): "can",
}


def lead_in(tokens: list[Token], letters: bool = False) -> int:
    """How many tokens are words that lead up to the answer; 0 where the first ones do not.

    letters: the answer is a letter, which "A" and "I" then are unless the next word makes them an article or a pronoun.
    """
    place, clause, last = 0, 0, ""
    while place < len(tokens):
        token = tokens[place]
        word = token.text.casefold()
        if token.kind == "symbol" and last and token.text in (":", ","):
            last, clause = token.text, place
        elif letters and token.text in ("-", "–") and last in ("answer", "ans", "choice", "option"):
            last = ":"
        elif token.kind == "symbol" and token.text in _FIGURES and (last in vocabulary.NAMED or _begins(tokens, place)):
            last = "angle"
        elif token.kind != "word" or (letters and _is_choice(tokens, place)) or _is_equated(tokens, place):
            break
        elif is_cjk(token.text):
            if not made_of(token.text, vocabulary.BEFORE_CJK):
                break
            last = ":"
        elif not letters and word not in "ai" and is_name(token.text) and _is_spoken_of(tokens, place, last):
            last = "name"
        elif word in vocabulary.BEFORE:
            last = _ALLOWED.get((last, word), word)
        else:
            break
        place += 1
    if _is_condition([token.text.casefold() for token in tokens[clause:place]]):
        return 0
    glued = place < len(tokens) and last not in (":", ",") and not tokens[place].gap
    if not place or last in (":", ",") or (last in vocabulary.LEADS and not glued):
        return place
    if last in vocabulary.HAS_NAME and not letters and _is_named_value(tokens, place):
        return place
    following = tokens[place].text if place < len(tokens) else ""
    if following == "(" and last in vocabulary.POINTS and not letters:
        return place
    if following in ("=", "~", ":") or (letters and last in ("letter", "option", "choice")):
        return place
    return 0


def _is_condition(words: list[str]) -> bool:
    """Whether a clause only supposes its value, as "if the radius is 4" does; "the number left when cubes are removed
    is 4" does not, for it has a verb beside that of its condition."""
    at = next((k for k, word in enumerate(words) if word in _CONDITIONS), None)
    if at is None:
        return False
    return not at or any(word in _COPULAS for word in words[:at]) or sum(word in _COPULAS for word in words[at:]) < 2


def trails(tokens: list[Token]) -> bool:
    """Whether tokens are words that may follow an answer and change nothing about it."""
    texts = [token.text for token in tokens]
    if "(" in texts or ")" in texts:  # one remark in brackets, at the end
        if texts.count("(") != 1 or texts[-1] != ")" or texts.index("(") > len(texts) - 3:
            return False
    for token in tokens:
        if token.kind == "word":
            word = token.text.casefold()
            known = word in vocabulary.BEHIND or word in vocabulary.NOUNS
            if not known and not (is_cjk(token.text) and made_of(token.text, vocabulary.BEHIND_CJK)):
                return False
        elif token.text not in tuple(",()") and not (token.text == "." and token is tokens[-1]):
            return False
    return len(tokens) < 2 or any(token.kind == "word" for token in tokens)


def is_name(text: str) -> bool:
    """Whether a word is a letter, or letters such as AB that name a line or a figure."""
    known = vocabulary.QUANTITIES | FUNCTIONS
    return text.isascii() and (len(text) == 1 or (len(text) <= 4 and text.isupper() and text.lower() not in known))


def _begins(tokens: list[Token], place: int) -> bool:
    """Whether a sign of a figure begins a sentence about it: "∠ABC is"."""
    return place == 0 and len(tokens) > 3 and tokens[2].text.casefold() in vocabulary.COPULAS


def _is_equated(tokens: list[Token], place: int) -> bool:
    """Whether a word is a variable that is given a value: "y = 5", "a = 4"."""
    return len(tokens[place].text) == 1 and place + 1 < len(tokens) and tokens[place + 1].text in ("=", "~")


def _is_named_value(tokens: list[Token], place: int) -> bool:
    """Whether a letter stands there that is given its value: "r = 4", "θ = 60°"."""
    letter = place + 1 < len(tokens) and (len(tokens[place].text) == 1 or tokens[place].text in GREEK)
    return letter and tokens[place].kind != "number" and tokens[place + 1].text in ("=", "~")


def _is_spoken_of(tokens: list[Token], place: int, last: str) -> bool:
    """Whether a name stands where one is expected: "the length of AB", "x is 4"."""
    follows = tokens[place + 1].text.casefold() if place + 1 < len(tokens) else ""
    return last in vocabulary.NAMED or follows in vocabulary.COPULAS


def _is_choice(tokens: list[Token], place: int) -> bool:
    text = tokens[place].text
    if len(text) > 1 or not text.isascii():
        return False
    following = tokens[place + 1].text if place + 1 < len(tokens) else ""
    if text == "I" and following == "would" and place + 2 < len(tokens):
        return tokens[place + 2].text not in vocabulary.LEADS
    if text in "aAI" and following[:1].islower():
        return following in ("is", "or", "and", "would", "must")
    return True
