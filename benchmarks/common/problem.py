"""Prompts to measure on: made-up text of a fixed number of tokens and pictures of noise; or bare arrays of a shape."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from common.cost import Shapes
from rrft_jax.data.index import Bucket
from rrft_jax.models.prompts import Prompts
from rrft_jax.processing.buckets import collate
from rrft_jax.processing.processor import Processor, encode_prompt, measure


@dataclass(frozen=True)
class Question:
    text: str
    images: tuple[Image.Image, ...]


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    """size: height and width in pixels."""
    rng = np.random.default_rng(seed)
    height, width = size
    x = rng.integers(0, 255, (height, width, 3), np.uint8)
    for _ in range(5):
        top, left = rng.integers(0, (height * 3 // 4, width * 3 // 4))
        x[top : top + height // 4, left : left + width // 4] = rng.integers(0, 255, 3)
    return Image.fromarray(x)


def check_template(processor: Processor, sizes: list[tuple[int, int]], text_tokens: int) -> None:
    """Raises ValueError where the chat template around these pictures is longer than `text_tokens`."""
    bare = measure(processor, "", sizes)
    if (template := bare.prompt_tokens - sum(bare.patches) // 4) > text_tokens:
        raise ValueError(
            f"--text-tokens={text_tokens}: the chat template with {len(sizes)} pictures is {template} already"
        )


def make_questions(
    processor: Processor, prompts: int, images: int, size: tuple[int, int], text_tokens: int
) -> list[Question]:
    """`prompts` questions with `images` pictures each, of (height, width) `size` in pixels; all tokens but the visual
    ones number `text_tokens`.

    Raises ValueError where the chat template alone is longer.
    """
    words = [w for w in processor.tokenizer.get_vocab() if w.isascii() and w.isalpha() and len(w) > 1]
    words = sorted(words) or ["a"]
    sizes, questions = [size] * images, []
    check_template(processor, sizes, text_tokens)
    for p in range(prompts):
        rng = np.random.default_rng(p)
        length = lambda text: measure(processor, text, sizes)  # noqa: E731
        text = ""
        for word in [*rng.choice(words, text_tokens), *"a" * text_tokens]:
            found = length(f"{text} {word}".strip())
            words_only = found.prompt_tokens - sum(found.patches) // 4
            if words_only <= text_tokens:
                text = f"{text} {word}".strip()
            if words_only == text_tokens:
                break
        questions.append(Question(text, tuple(picture(100 * p + i, size) for i in range(images))))
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


def random_prompts(config, s: Shapes) -> Prompts:
    """Prompts without padding: the visual tokens in front, one square-ish picture a slot."""
    rng = np.random.default_rng(0)
    rows = next(r for r in range(int(s.n**0.5), 1, -1) if s.n % r == 0 and r % 2 == 0 and s.n // r % 2 == 0)
    place = np.indices((rows, s.n // rows)).reshape(2, -1).T
    tokens = rng.integers(0, min(config.vocab_size, 1000) - 64, (s.B, s.P)).astype(np.int32)
    tokens[:, : s.I * s.n // 4] = config.image_token_id
    return Prompts(
        prompt_id=np.arange(s.B, dtype=np.int32), tokens=tokens, token_mask=np.ones((s.B, s.P), bool),
        positions=np.broadcast_to(np.arange(s.P, dtype=np.int32), (s.B, 3, s.P)),
        next_position=np.full(s.B, s.P, np.int32),
        patches=rng.normal(size=(s.B, s.I, s.n, config.vision.patch_dim)).astype(np.float32),
        patch_mask=np.ones((s.B, s.I, s.n), bool),
        patch_position=np.broadcast_to(place.astype(np.int32), (s.B, s.I, s.n, 2)),
    )  # fmt: skip
