"""Answers that are words: "red", "yes", "isosceles triangle"."""

import re

from rrft_jax.answers import vocabulary
from rrft_jax.answers.framing import lead_in
from rrft_jax.answers.markup import folded
from rrft_jax.answers.scripts import is_cjk, made_of
from rrft_jax.answers.tokens import Token, Unreadable, tokenize

WORDS = re.compile(r"[(\[]?[^\W\d_]+(?:[ '’-][^\W\d_]+){0,11}[)\]]?")
_ARTICLE = re.compile(r"^(?:the|a|an|der|die|das|le|la|el)\s+", re.IGNORECASE)
_AGREES = re.compile(
    r"(yes|no|true|false)[.,!:;]?\s+(?:(?:it|they|he|she|there|this|that|we|you|i|these|those)\s+)"
    r"(?:is|are|does|do|has|have|was|were|can|will|did)(?:\s?(not|n't))?(?: (?:correct|right|true|so))?",
    re.IGNORECASE,
)


def says(text: str, wanted: str) -> bool:
    """Whether a text says the words wanted, in a frame or none: "The answer is red", "Yes, it is" for yes."""
    wanted = folded(wanted.strip("()[]"))
    text = text.strip("()[]<>. " if len(wanted) == 1 else "()[]<>!. ")
    if folded(_ARTICLE.sub("", text)) in (wanted, folded(_ARTICLE.sub("", wanted))):
        return True
    if is_cjk(wanted) and text.endswith(wanted) and made_of(text.removesuffix(wanted), vocabulary.BEFORE_CJK):
        return True
    echo = _AGREES.fullmatch(text.rstrip(".! "))
    if echo:
        return echo[1].casefold() == wanted and bool(echo[2]) == (wanted in ("no", "false"))
    try:
        tokens = tokenize(text)
    except Unreadable:
        return False
    if wanted in ("yes", "no") and len(tokens) > 1 and tokens[0].text.casefold() == wanted:
        return _goes_on(tokens[1:], wanted)
    if not folded(text).endswith(wanted):
        return False
    for begins in range(len(tokens)):
        rest = folded(text[tokens[begins].start :])
        if rest in (wanted, *(f"{article} {wanted}" for article in ("the", "a", "an"))):
            return begins > 0 and _leads_to_words(tokens[:begins])
    return False


def _goes_on(tokens: list[Token], wanted: str) -> bool:
    """Whether what follows a yes or no goes with it: known words, for a no also what denies."""
    known = vocabulary.BEFORE | vocabulary.BEHIND | vocabulary.NOUNS | {",", ".", "!"}
    denials = {"no", "not", "n", "'", "t", "isn", "aren", "doesn"} if wanted == "no" else set()
    words = {token.text.casefold() for token in tokens}
    return tokens[0].text in (",", ".") and words <= known | denials and len(words & vocabulary.NOUNS) > 0


def _leads_to_words(tokens: list[Token]) -> bool:
    before, last = ("", *(token.text.casefold() for token in tokens))[-2:]
    if last == "," and before in ("so", "therefore", "thus", "hence"):
        return lead_in(tokens) == len(tokens)
    if last not in (":", "=", "is", "are", "be", "ist", "est", "es"):
        return False
    return lead_in(tokens) == len(tokens)
