"""The directory's own chat template, filled in so that special tokens a user types stay plain characters.

The template is rendered with marks in place of the texts and cut at its own special tokens; the texts go in
afterwards, and every piece is tokenised without recognising special tokens. For texts that contain none, the ids
are those of tokenising the rendered string.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tokenizers

from rrft_jax.processing.template import render_template

_MARK = re.compile("\ue000([0-9]+)\ue000")  # private-use characters, which no template contains


@dataclass(frozen=True)
class Visual:
    """An image or a video in a turn: `copies` of its special token stand for it."""

    token: str
    copies: int


@dataclass(frozen=True)
class Turn:
    """One message. role: 'system', 'user' or 'assistant'; parts: texts and visuals in their order."""

    role: str
    parts: tuple[str | Visual, ...]


def mark(k: int) -> str:
    """What stands for text k of a conversation while the template is rendered; texts are never searched for it."""
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
    for k in range(len(texts)):
        if (count := text.count(mark(k))) != 1:
            raise ValueError(
                f"the chat template prints a text {count} times instead of 1: "
                "use Qwen2-VL's chat_template in the model directory"
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
    cut = "|".join(re.escape(token) for token in sorted(specials, key=len, reverse=True))
    pieces = re.split(f"({cut})", rendered)
    visuals = [part for turn in turns for part in turn.parts if isinstance(part, Visual)]
    for token in kinds:
        expected = sum(visual.token == token for visual in visuals)
        if pieces.count(token) != expected:
            raise ValueError(
                f"the chat template prints {token} {pieces.count(token)} times for {expected} of them: "
                "use Qwen2-VL's chat_template in the model directory"
            )
    copies = {token: iter([v.copies for v in visuals if v.token == token]) for token in kinds}
    ids = []
    for piece in pieces:
        if piece in specials:
            ids += [specials[piece]] * (next(copies[piece]) if piece in copies else 1)
        elif piece:
            filled = _MARK.sub(lambda found: texts[int(found[1])], piece)
            ids += plain.encode(filled, add_special_tokens=False).ids
    return ids
