"""The directory's own chat template, filled in so that special tokens a user types stay plain characters.

The template is rendered with marks in place of the texts and cut at its own special tokens; the texts go in
afterwards, and every piece is tokenised without recognising special tokens. For texts that contain none, the ids
are those of tokenising the rendered string.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tokenizers

from rrft_jax.data.example import IMAGE_MARK
from rrft_jax.processing.template import render_template

_MARK = re.compile("\ue000([0-9]+)\ue000")  # private-use characters, which no template contains


@dataclass(frozen=True)
class Visual:
    """An image or a video in a turn: `copies` of its special token stand for it.

    times: of a video whose frame pairs stand apart, the text before each, which then has so many copies; around: the
    special tokens that begin and end each, which a template prints around the video.
    """

    token: str
    copies: int
    times: tuple[str, ...] = ()
    around: tuple[str, str] | None = None


@dataclass(frozen=True)
class Turn:
    """One message. role: 'system', 'user' or 'assistant'; parts: texts and visuals in their order."""

    role: str
    parts: tuple[str | Visual, ...]


@dataclass(frozen=True)
class Prompt:
    """A prompt. text: the user's; history: (role, text) of the turns before it, of "user" and "assistant";
    system: None for the template's own. Pictures are in front of `text`, or at marks in the user's texts."""

    text: str
    history: tuple[tuple[str, str], ...] = ()
    system: str | None = None

    def __str__(self) -> str:
        if not self.history and self.system is None:
            return self.text
        turns = [*([("system", self.system)] if self.system is not None else []), *self.history, ("user", self.text)]
        return "\n".join(f"[{role}] {text}" for role, text in turns)


def place_pictures(
    prompt: Prompt, pictures: Sequence[Any], mark: str | None = None, films: Sequence[Any] = ()
) -> list[tuple[str, list]]:
    """(role, parts) of each turn but the system's, where a part is a text or one of `pictures` or `films`.

    Pictures are in the places of the first `mark`s of the user's texts; without `mark` at those of IMAGE_MARK where
    there are as many of these as pictures, else in front of the last text, as films are. ValueError for too few marks.
    """
    said = [*prompt.history, ("user", prompt.text)]
    if mark is None:
        count = sum(text.count(IMAGE_MARK) for role, text in said if role == "user")
        if count != len(pictures) or not pictures:
            return [*((role, [text]) for role, text in said[:-1]), ("user", [*pictures, *films, prompt.text])]
        mark = IMAGE_MARK
    turns, waiting = [], list(pictures)
    for role, text in said:
        before, *behind = text.split(mark, len(waiting)) if role == "user" else (text,)
        parts = [before] + [part for after in behind for part in (waiting.pop(0), after)]
        turns.append((role, [part for part in parts if part != ""] or [text]))
    if waiting:
        count = len(pictures) - len(waiting)
        raise ValueError(f"the prompt has {count} {mark} for {len(pictures)} images: its template lacks them")
    turns[-1][1][:0] = films
    return turns


def mark(k: int) -> str:
    """The placeholder of text k of a conversation while the template is rendered; texts are never searched for it."""
    return f"\ue000{k}\ue000"


def plain_tokenizer(tokenizer: Any) -> tokenizers.Tokenizer:
    """A copy of a HuggingFace tokenizer that reads special tokens as plain text.

    A copy, because the switch is a state of the tokenizer, and threads prepare batches at the same time.
    """
    plain = tokenizers.Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    plain.no_padding()
    plain.no_truncation()
    plain.encode_special_tokens = True
    return plain


def special_tokens(tokenizer: Any) -> dict[str, int]:
    """Text and id of every special token."""
    return {token.content: i for i, token in tokenizer.added_tokens_decoder.items() if token.special}


def render(tokenizer: Any, turns: Sequence[Turn], kinds: Mapping[str, str]) -> tuple[str, list[str]]:
    """The chat template with marks for the texts, up to the start of the answer; and the texts.

    kinds: special token -> its name in a template's content parts ('image', 'video').
    Raises ValueError if the template fails, or does not print each mark exactly once.
    """
    texts, messages = [], []
    for turn in turns:
        content = []
        for part in turn.parts:
            if isinstance(part, Visual):
                content.append({"type": kinds[part.token]})
            else:
                content.append({"type": "text", "text": mark(len(texts))})
                texts.append(part)
        bare = turn.role != "user" and len(content) == 1 and content[0]["type"] == "text"
        messages.append({"role": turn.role, "content": content[0]["text"] if bare else content})
    text = render_template(tokenizer.get_chat_template(), messages, tokenizer.special_tokens_map)
    printed = Counter(_MARK.findall(text))
    for k in range(len(texts)):
        if (count := printed[str(k)]) != 1:
            raise ValueError(
                f"the chat template prints a text {count} times instead of 1: "
                "use the model's own chat_template in its directory"
            )
    return text, texts


def chat_tokens(
    tokenizer: Any,
    plain: tokenizers.Tokenizer,
    specials: Mapping[str, int],
    turns: Sequence[Turn],
    kinds: Mapping[str, str],
) -> list[int]:
    """Token ids of a conversation and the start of the answer. kinds: see `render`."""
    rendered, texts = render(tokenizer, turns, kinds)
    pieces = _pieces(specials, rendered)
    visuals = [part for turn in turns for part in turn.parts if isinstance(part, Visual)]
    for token in kinds:
        expected = sum(visual.token == token for visual in visuals)
        if pieces.count(token) != expected:
            raise ValueError(
                f"the chat template prints {token} {pieces.count(token)} times for {expected} of them: "
                "use the model's own chat_template in its directory"
            )
    if any(visual.times for visual in visuals):
        pieces = _apart(pieces, visuals)
    counts = {token: [v.copies for v in visuals if v.token == token for _ in v.times or ("",)] for token in kinds}
    copies = {token: iter(found) for token, found in counts.items()}
    return _token_ids(plain, specials, pieces, texts, copies)


def reply_tokens(
    tokenizer: Any, plain: tokenizers.Tokenizer, specials: Mapping[str, int], turns: Sequence[Turn], end: str
) -> tuple[list[int], list[bool]]:
    """Token ids of a conversation after its first question, and which of them the assistant generates.

    turns: of one text each, user and assistant in turn, the assistant last; end: the special token that ends a turn,
    which the assistant generates too. Each answer is tokenised by itself, as it is when it is sampled. ValueError for
    a template that ends an answer in another way.
    """
    rendered, texts = render(tokenizer, turns, {})
    ids: list[int] = []
    said: list[bool] = []
    for number, turn in enumerate(turns):
        if turn.role != "assistant":
            continue
        answer = plain.encode(texts[number], add_special_tokens=False).ids
        _, _, behind = rendered.partition(mark(number))
        between = behind.partition(mark(number + 2))[0] if number + 2 < len(turns) else end
        pieces = _pieces(specials, between)
        if next(filter(None, pieces), None) != end or not behind.startswith(end):
            raise ValueError(f"the chat template does not end an answer with {end}: use the model's own chat_template")
        between = _token_ids(plain, specials, pieces, texts, {})
        ids += [*answer, *between]
        said += [True] * (len(answer) + 1) + [False] * (len(between) - 1)
    return ids, said


def _pieces(specials: Mapping[str, int], rendered: str) -> list[str]:
    cut = "|".join(re.escape(token) for token in sorted(specials, key=len, reverse=True))
    return re.split(f"({cut})", rendered)


def _apart(pieces: list[str], visuals: Sequence[Visual]) -> list[str]:
    """The pieces of a conversation, with each video that has times as frame pairs one after another."""
    waiting, out = {token: [v for v in visuals if v.token == token] for token in {v.token for v in visuals}}, []
    rest = list(pieces)
    while rest:
        piece = rest.pop(0)
        visual = waiting[piece].pop(0) if piece in waiting else None
        if visual is None or not visual.times or visual.around is None:
            out.append(piece)
            continue
        start, end = visual.around
        if out[-2:] != [start, ""] or rest[:2] != ["", end]:
            raise ValueError(
                f"the chat template does not print {start} and {end} around {piece}: use the model's own chat_template"
            )
        before, rest = out[-3] if len(out) > 2 else "", rest[2:]
        out = out[:-3]
        for time in visual.times:
            out += [before + time, start, "", piece, "", end]
            before = ""
    return out


def _token_ids(
    plain: tokenizers.Tokenizer,
    specials: Mapping[str, int],
    pieces: Sequence[str],
    texts: Sequence[str],
    copies: Mapping[str, Iterator[int]],
) -> list[int]:
    ids = []
    for piece in pieces:
        if piece in specials:
            ids += [specials[piece]] * (next(copies[piece]) if piece in copies else 1)
        elif piece:
            filled = _MARK.sub(lambda found: texts[int(found[1])], piece)
            ids += plain.encode(filled, add_special_tokens=False).ids
    return ids
