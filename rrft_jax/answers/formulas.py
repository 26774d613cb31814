"""Formulas that are compared by their signs alone, or left to algebra as they stand: matrices, unions, sums, limits."""

from typing import NamedTuple

from rrft_jax.answers.expression import FUNCTIONS
from rrft_jax.answers.tokens import GREEK, Token, Unreadable, spelling, tokenize


class Undecided(NamedTuple):
    """Two formulas in LaTeX, both understood, of which algebra must say whether they are equal."""

    gold: str
    answer: str


def same_formula(answer: str, gold: str) -> bool | Undecided:
    """Equal but for the spelling of their signs ("\\geq" and "≥"); what only algebra can read goes there whole."""
    try:
        ours, theirs = tokenize(answer), tokenize(gold)
    except Unreadable:
        return False
    if spelling(ours) == spelling(theirs):
        return True
    if _is_formula(ours) and _is_formula(theirs) and (_is_advanced(ours) or _is_advanced(theirs)):
        return Undecided(_tex(theirs), _tex(ours))
    return False


_TEX = {
    "<=": "\\le ", ">=": "\\ge ", "!=": "\\ne ", "{.": "\\{", ".}": "\\}", "infinity": "\\infty ", "*": "\\cdot ",
}  # fmt: skip


def _tex(tokens: list[Token]) -> str:
    pieces = []
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.kind == "symbol" and token.text.isalpha() and token.text not in _TEX:
            letters_follow = following is not None and following.kind == "word"
            pieces.append(f"\\{token.text}{' ' if letters_follow else ''}")
        else:
            pieces.append(_TEX.get(token.text, token.text) if token.kind == "symbol" else token.text)
    return "".join(pieces)


_ADVANCED = frozenset(
    """int sum prod lim binom lfloor rfloor lceil rceil begin end cup cap in notin emptyset mathbb to setminus det
    """.split()
)
_FORMULA = (
    frozenset("+-*/^_(){}[]|,=<>!'&\\")
    | {"<=", ">=", "!=", "{.", ".}", "\\\\", "frac", "sqrt", "infinity", "pi"}
    | (_ADVANCED | GREEK | FUNCTIONS)
)


def _is_advanced(tokens: list[Token]) -> bool:
    return any(token.kind == "symbol" and token.text in _ADVANCED for token in tokens)


def _is_formula(tokens: list[Token]) -> bool:
    """Whether a text is LaTeX and no prose, with no two numbers side by side."""
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.kind == "number" and before and before.kind == "number":
            return False
        if token.kind == "symbol" and token.text not in _FORMULA:
            return False
        if token.kind == "word" and len(token.text) > 1 and "matrix" not in token.text:
            return False
    return True
