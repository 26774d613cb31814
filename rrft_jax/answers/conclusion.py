"""Which part of a text states its answer: the box, the sentence that says "the answer is", or all of it."""

import re

from rrft_jax.answers import markup, vocabulary

MAX_CHARS = 2000  # a longer text is no answer itself, but its last sentence may state one

_BREAK = re.compile(r"(?<=[^\s.][.!?])\s+(?=\S)|(?<=[。!?])(?=\S)|\n+")
_MARKER = re.compile(
    r"(?:so|therefore|thus|hence|finally|in conclusion|conclusion|∴|\\therefore)\b"
    r"|(?:(?:the|my|our)\s+)?(?:(?:final|correct|right)\s+)*(?:answer|choice|option)\s*(?:is|:|=|\()"
    r"|(?:die|la|le|el|a)\s+(?:antwort|réponse|respuesta|resposta|risposta)\b|antwort\b|réponse\b|respuesta\b|resposta\b"
    r"|最终答案|正确答案|答案|所以|因此|故|综上|答\s*:|ответ\b|答え|정답",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"[,;]\s*(?=(?:and\s+)?(?:so|therefore|thus|hence)\b|the\s+(?:(?:final|correct|right)\s+)*(?:answer|option|choice)\s+is\b)",
    re.IGNORECASE,
)
_REASON = re.compile(
    r"[,.;]?\s+(?=(?:because|since)\b)|[.!]\s+(?=(?:note|this is because|explanation|reason)\b)", re.IGNORECASE
)
_TAKEN_BACK = re.compile(
    r"\b(?:answer|actually|wait|however|but|sorry|correction|instead|should|incorrect|wrong|mistake|maybe|perhaps|final"
    r"|unless|or|nor|otherwise|guess\w*|kidding|oops|scratch|doubt\w*|unsure|uncertain|although|though|revis\w*)\b|\?",
    re.IGNORECASE,
)
_HEDGED = re.compile(r"\b(?:answer|if|unless|not|wrong|false)\b|n't\b", re.IGNORECASE)
_DENIED = re.compile(
    r"\b(?:not|false|wrong|incorrect|never|neither|nor|cannot|unlikely|no)\b|n't\b|[不没非]", re.IGNORECASE
)


_NAMED_FIELD = re.compile(r"\{\s*['\"](?:final[_ ])?answer['\"]\s*:\s*(['\"]?)([^'\"{}:]+)\1\s*\}", re.IGNORECASE)
_WISH = re.compile(r"(?<=\S)[.,]? I hope (?:it|this|that) is (?:correct|right)\.?$")  # asked for by a well-known prompt


def conclusion(text: str) -> str:
    """The part of a text that its answer is read from, in plain spelling; "" of a long text that never says it."""
    text = _last_words(text)
    if field := _NAMED_FIELD.fullmatch(text.strip()):
        text = field[2]
    stated = _in_box(text)
    text = markup.plain(text if stated is None else stated)
    if text.isalnum():
        return text
    text = _WISH.sub("", text)
    reason = _REASON.search(text)
    if reason and reason.start() and not _TAKEN_BACK.search(text, reason.end()):
        text = text[: reason.start()]
    sentences = _BREAK.split(text)
    if len(sentences) > 1 and _MARKER.match(sentences[-1]):
        text = sentences[-1]
    clauses = _CLAUSE.split(text)
    if len(clauses) > 1 and not _HEDGED.search(text[: -len(clauses[-1])]):
        text = clauses[-1]
    return text


def _last_words(text: str) -> str:
    if len(text) <= MAX_CHARS:
        return text
    sentences = _BREAK.split(markup.plain(text[-MAX_CHARS:]))
    return sentences[-1] if len(sentences) > 1 and _MARKER.match(sentences[-1]) else ""


def _in_box(text: str) -> str | None:
    """What the \\boxed{..} of a text holds, with what follows it; None without one, or where the box is part of a
    formula or of a sentence that says something else of it."""
    contents = markup.boxed(text)
    if not contents or len(set(contents)) > 1:
        return None
    opened = markup.BOXED.search(text)
    if opened is None:
        return None
    before = text[: opened.start()].rstrip(" \t\n$*").removesuffix("\\(").removesuffix("\\[").rstrip()
    if not before:
        return None
    sentence = _BREAK.split(before)[-1]
    lead = re.search(r"(\\?[^\W\d_]+)$|[=:,.。]$", before)
    if lead is None or _DENIED.search(sentence):
        return None
    if lead[1] and lead[1].casefold() not in vocabulary.LEADS and not lead[1].endswith(("是", "为", "案")):
        return None
    behind = text[text.rfind(opened[0]) :]
    for opening, closing in (("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        if text[: opened.start()].rstrip().endswith(opening):  # its other end stands behind the box: "$\\boxed{4}$ cm"
            return behind.replace(closing, " ", 1)
    return behind
