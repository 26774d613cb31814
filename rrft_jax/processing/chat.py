"""The directory's own chat template, filled in so that special tokens a user types stay plain characters.

The template is rendered with marks in place of the texts and cut at its own special tokens; the texts go in
afterwards, and every piece is tokenised without recognising special tokens. For texts that contain none, the ids
are those of tokenising the rendered string.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers

# Private-use characters: no template and hardly a text contains them, and a text is never searched for them.
USER, SYSTEM = "\ue000user\ue000", "\ue000system\ue000"


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


def render(tokenizer: Any, images: int, videos: int, system: bool) -> str:
    """The chat template with marks for the texts: images, then videos, then the user's text, one turn.

    Raises ValueError if the template does not print each mark exactly once.
    """
    content = [{"type": "image"}] * images + [{"type": "video"}] * videos + [{"type": "text", "text": USER}]
    turns = [{"role": "user", "content": content}]
    if system:
        turns.insert(0, {"role": "system", "content": SYSTEM})
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    for mark, expected in ((USER, 1), (SYSTEM, int(system))):
        if text.count(mark) != expected:
            raise ValueError(
                f"the chat template prints a text {text.count(mark)} times instead of {expected}: "
                "use Qwen2-VL's chat_template in the model directory"
            )
    return text


def chat_tokens(
    tokenizer: Any,
    plain: tokenizers.Tokenizer,
    specials: Mapping[str, int],
    text: str,
    visual: Mapping[str, Sequence[int]],
    system: str | None,
) -> list[int]:
    """Token ids of one user turn and the start of the answer.

    visual: for the image token and then the video token, how many copies stand for each image or video.
    """
    rendered = render(tokenizer, *(len(counts) for counts in visual.values()), system is not None)
    cut = "|".join(re.escape(token) for token in sorted(specials, key=len, reverse=True))
    pieces = re.split(f"({cut})", rendered)
    for token, counts in visual.items():
        if pieces.count(token) != len(counts):
            raise ValueError(
                f"the chat template prints {token} {pieces.count(token)} times for {len(counts)} of them: "
                "use Qwen2-VL's chat_template in the model directory"
            )
    copies = {token: iter(counts) for token, counts in visual.items()}
    texts = {USER: text, SYSTEM: system}
    ids = []
    for piece in pieces:
        if piece in specials:
            ids += [specials[piece]] * (next(copies[piece]) if piece in copies else 1)
        elif piece:
            filled = re.sub(f"{USER}|{SYSTEM}", lambda mark: texts[mark[0]], piece)
            ids += plain.encode(filled, add_special_tokens=False).ids
    return ids
