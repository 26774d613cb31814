"""The <think> and <answer> tags: the one reader of completions, reference answers and chains of thought.

Tags are read in any case and with spaces inside their brackets, for a model that answers in `< Answer>` has answered.
Only `published_answer` keeps to the original's pattern.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

# Bounded spaces: an unbounded run would be tried again from each "<" of a hostile text.
_TAG = re.compile(r"<\s{0,8}(?:(/)\s{0,8})?(think|answer)\s{0,8}>", re.IGNORECASE)
_TAGS = re.compile(f"(?:{_TAG.pattern})+", re.IGNORECASE)
_SPECIAL = re.compile(r"<\|[a-z_]{1,40}\|>")  # <|im_end|>, where a server leaves it in the text
_OPENED = re.compile(r"<\s{0,8}answer\s{0,8}>", re.IGNORECASE)
_CUT_CLOSE = re.compile(r"<\s{0,8}/\s{0,8}(?:a|an|ans|answ|answe|answer)?\s{0,8}$", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """text: stripped of surrounding whitespace. tagged: whether it stood inside a closed <answer> pair."""

    text: str
    tagged: bool


class _Tag(NamedTuple):
    start: int
    end: int
    name: str
    closes: bool


def extract_answer(text: str) -> Answer | None:
    """The answer of a completion, or None when it gives none.

    The last closed <answer> behind the last </think> counts, else the last one outside any thought: a draft inside a
    thought is no answer, and neither is anything in a thought that was never closed (a truncated completion). Without
    a closed pair, what stands behind the thought is the answer, so that a direct "4" or an unclosed "<answer>4" counts.
    """
    text = _finished(text)
    tags = _tags(text)
    outside = _outside(text, tags)
    pair = _last_pair(outside)
    if pair is not None:
        return Answer(_body(text, *pair, tags), tagged=True)
    thoughts = [tag for tag in tags if tag.name == "think"]
    if thoughts and not thoughts[-1].closes:
        return None
    behind = thoughts[-1].end if thoughts else 0
    opened = [tag.end for tag in outside if not tag.closes and tag.start >= behind]
    tail = _tail(text, tags)  # "<answer>4<answer>" opens where it should close
    rest = _TAG.sub(" ", text[max((end for end in opened if end < tail), default=behind) :]).strip()
    return Answer(rest, tagged=False) if rest else None


def reference_answer(text: str) -> str:
    """The answer that a reference text gives, read as a completion's; "" where it has tags and no answer."""
    if not _TAG.search(text):
        return text.strip()
    found = extract_answer(text)
    return found.text if found else ""


def split_thought(text: str) -> tuple[str, Answer | None]:
    """A chain of thought without its tags, and the answer that it ends in, if it gives one in <answer> tags.

    A text without tags comes back as it is. Nothing but tags and the final answer is left out: text around the
    thought and drafts of the answer inside it stay.
    """
    if not _TAG.search(text):
        return text, None
    text = _finished(text)
    tags = _tags(text)
    outside = _outside(text, tags)
    pair = _last_pair(outside)
    if pair is not None:
        return _untagged(text[: pair[0]] + text[pair[1] :]), Answer(_body(text, *pair, tags), tagged=True)
    if outside and tags[-1] == outside[-1] and not tags[-1].closes:
        answer = text[tags[-1].end :].strip()
        return _untagged(text[: tags[-1].start]), Answer(answer, tagged=False) if answer else None
    return _untagged(text), None


def split_completion(text: str) -> tuple[str, Answer | None]:
    """The thought and the answer of a whole completion: `split_thought`, and where no tags hold the answer, what stands
    behind the thought is it; without any thought, the whole text."""
    thought, answer = split_thought(text)
    if answer is not None:
        return thought, answer
    answer = extract_answer(text)
    if answer is None:
        return thought, None
    return thought.removesuffix(answer.text).strip(), answer


def opens_thought(text: str) -> bool:
    """Whether a completion thinks in tags before it answers, or means to."""
    return any(tag.name == "think" and not tag.closes for tag in _tags(text))


def published_answer(text: str) -> Answer:
    """The original's reading: the body of the first closed pair, spelled exactly and anywhere, else the whole text."""
    body = next(published_answers(text), None)
    return Answer(text.strip(), tagged=False) if body is None else Answer(body.strip(), tagged=True)


def published_answers(text: str) -> Iterator[str]:
    """The bodies that `<answer>(.*?)</answer>` finds with DOTALL, without its quadratic time on unclosed tags."""
    end = 0
    while (opened := text.find("<answer>", end)) >= 0:
        start = opened + len("<answer>")
        closed = text.find("</answer>", start)
        if closed < 0:
            return
        yield text[start:closed]
        end = closed + len("</answer>")


def published_answer_of_a_line(text: str) -> str:
    """The body of the first pair that opens and closes in one line, else the whole text: the same pattern without
    DOTALL, as the original's spatial scorer has it."""
    bodies = (body for line in text.split("\n") for body in published_answers(line))
    return next(bodies, text)


def _tags(text: str) -> list[_Tag]:
    return [_Tag(*found.span(), found[2].lower(), bool(found[1])) for found in _TAG.finditer(text)]


def _finished(text: str) -> str:
    """Without special tokens, and with a last closing tag that was cut off completed."""
    text = _SPECIAL.sub("", text)
    cut = _CUT_CLOSE.search(text[-64:]) if _OPENED.search(text) else None
    return text[: max(0, len(text) - 64) + cut.start()] + "</answer>" if cut else text


def _last_pair(tags: list[_Tag]) -> tuple[int, int] | None:
    """Where the body of the last closed <answer> begins and ends; of "<answer>3 <answer>4</answer>" the inner one."""
    found, opened = None, None
    for tag in tags:
        if tag.name == "answer":
            if tag.closes and opened is not None:
                found = opened, tag.start
            opened = None if tag.closes else tag.end
    return found


def _body(text: str, start: int, end: int, tags: list[_Tag]) -> str:
    """The text of an answer, without thoughts inside it."""
    pieces, depth = [], 0
    for tag in tags:
        if start <= tag.start < end:
            if depth == 0:
                pieces.append(text[start : tag.start])
            if tag.name == "think":
                depth = max(0, depth + (-1 if tag.closes else 1))
            start = tag.end
    return " ".join([*pieces, text[start:end] if depth == 0 else ""]).strip()


def _outside(text: str, tags: list[_Tag]) -> list[_Tag]:
    """The answer tags that stand outside any thought. The last </think> closes every thought that is still open.

    A </think> that nothing opened closes a thought that began before the text (in the prompt), unless it is a stray
    one: the text ends in it, and nothing but tags and space stands between a closed answer and itself.
    """
    last_closed = max((tag.end for tag in tags if tag.name == "think" and tag.closes), default=-1)
    kept: list[_Tag] = []
    depth, tail = 0, _tail(text, tags)
    for tag in tags:
        if tag.name == "answer":
            if depth == 0:
                kept.append(tag)
        elif not tag.closes:
            depth += 1
        elif depth:
            depth = 0 if tag.end == last_closed else depth - 1
        else:
            stray = tag.start >= tail and bool(kept) and kept[-1].closes and kept[-1].start >= tail
            kept = kept if stray else []
    return kept


def _tail(text: str, tags: list[_Tag]) -> int:
    """Where a text ends but for tags and space."""
    place = len(text)
    for tag in [*reversed(tags), None]:
        while place and text[place - 1].isspace():
            place -= 1
        if tag is None or tag.end != place:
            break
        place = tag.start
    return place


def _untagged(text: str) -> str:
    """Without tags; a space where words would run together."""

    def gap(found: re.Match) -> str:
        before, behind = text[max(0, found.start() - 1) : found.start()], text[found.end() : found.end() + 1]
        return " " if before.strip() and behind.isalnum() else ""

    return _TAGS.sub(gap, text).strip()
