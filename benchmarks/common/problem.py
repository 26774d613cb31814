"""The prompts both sides are given: made-up text of a fixed number of tokens, pictures of noise and squares."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from rrft_jax.data.index import Bucket
from rrft_jax.models.prompts import Prompts
from rrft_jax.processing.buckets import collate
from rrft_jax.processing.processor import Processor, encode_prompt, measure


@dataclass(frozen=True)
class Question:
    text: str
    images: tuple[Image.Image, ...]


def picture(seed: int, pixels: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 255, (pixels, pixels, 3), np.uint8)
    for _ in range(5):
        top, left = rng.integers(0, pixels * 3 // 4, 2)
        x[top : top + pixels // 4, left : left + pixels // 4] = rng.integers(0, 255, 3)
    return Image.fromarray(x)


def make_questions(processor: Processor, prompts: int, images: int, pixels: int, text_tokens: int) -> list[Question]:
    """`prompts` questions with `images` square pictures each; all tokens but the visual ones number `text_tokens`."""
    words = [w for w in processor.tokenizer.get_vocab() if w.isascii() and w.isalpha() and len(w) > 1]
    words = sorted(words) or ["a"]
    sizes, questions = [(pixels, pixels)] * images, []
    for p in range(prompts):
        rng = np.random.default_rng(p)
        length = lambda text: measure(processor, text, sizes)  # noqa: E731
        text = ""
        for word in [*rng.choice(words, text_tokens), *"a" * text_tokens]:
            size = length(f"{text} {word}".strip())
            visual = sum(size.patches) // 4
            if size.prompt_tokens - visual <= text_tokens:
                text = f"{text} {word}".strip()
            if size.prompt_tokens - visual == text_tokens:
                break
        questions.append(Question(text, tuple(picture(100 * p + i, pixels) for i in range(images))))
    return questions


def encode(processor: Processor, questions: list[Question]) -> Prompts:
    """The batch, padded to its own longest prompt; numpy arrays."""
    encoded = [encode_prompt(processor, q.text, q.images) for q in questions]
    sizes = [e.size for e in encoded]
    bucket = Bucket(
        max(s.prompt_tokens for s in sizes),
        max(len(s.patches) for s in sizes),
        max(max(s.patches, default=0) for s in sizes),
    )
    return collate(encoded, np.arange(len(encoded)), bucket, processor.pad_token_id)
