"""Tokenizer, chat template and image processor of a HuggingFace directory, composed without torch."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from rrft_jax.fields import token_ids
from rrft_jax.files import read_json_object
from rrft_jax.processing.chat import Turn, Visual, chat_tokens, plain_tokenizer, render, special_tokens
from rrft_jax.processing.directory import AGAIN, GEOMETRY, TOKENIZER, guarded, load_image_processor, load_tokenizer
from rrft_jax.processing.encoded import EncodedPrompt, Size, from_hf
from rrft_jax.processing.images import image_grid, image_patches, video_patches
from rrft_jax.processing.positions import Grid, visual_tokens

IMAGE, VIDEO, END_OF_TURN = "<|image_pad|>", "<|video_pad|>", "<|im_end|>"
KINDS = {IMAGE: "image", VIDEO: "video"}


@dataclass(frozen=True)
class Processor:
    """What turns texts and images into arrays, and tokens into text. Nothing in it changes, so threads may share it.

    eos_token_ids: end of turn first, then what generation_config.json adds. vocab_tokens: ids the tokenizer knows;
    the model may have more embedding rows. min_pixels, max_pixels: area of an image after resizing. nearest_pixels:
    area that a larger one is reduced to before that, see `image_patches`; 0: not. image_mark: what stands in a prompt's
    text where an image goes; None: images are in front of the text.
    """

    tokenizer: Any
    plain: tokenizers.Tokenizer
    specials: Mapping[str, int]
    image_processor: Qwen2VLImageProcessorPil
    generation_config: Mapping[str, Any] | None
    min_pixels: int
    max_pixels: int
    image_token_id: int
    video_token_id: int
    vision_start_token_id: int
    vision_end_token_id: int
    eos_token_ids: tuple[int, ...]
    pad_token_id: int
    vocab_tokens: int
    patch_size: int = GEOMETRY["patch_size"]
    merge_size: int = GEOMETRY["merge_size"]
    temporal_patch_size: int = GEOMETRY["temporal_patch_size"]
    nearest_pixels: int = 0
    image_mark: str | None = None


def load_processor(directory: str | Path, min_pixels: int | None = None, max_pixels: int | None = None) -> Processor:
    """The processor of a HuggingFace directory; pixel limits in pixels, None for the directory's own.

    Raises FileNotFoundError or ValueError naming the file and the field.
    """
    directory = Path(directory)
    tokenizer, template = load_tokenizer(directory)
    images = load_image_processor(directory, min_pixels, max_pixels)
    specials = special_tokens(tokenizer)
    needed = (IMAGE, VIDEO, "<|vision_start|>", "<|vision_end|>", END_OF_TURN)
    missing = [token for token in needed if token not in specials]
    if missing:
        raise ValueError(f"{directory}: special tokens {missing} are missing; this is no Qwen2-VL tokenizer")
    path = directory / "generation_config.json"
    generation = read_json_object(path, AGAIN) if path.is_file() else None
    eos = token_ids(generation or {}, path, "eos_token_id")
    pad = tokenizer.pad_token_id
    if pad is None:
        raise ValueError(f"{directory / 'tokenizer_config.json'}: pad_token is missing; Qwen2-VL's is <|endoftext|>")
    processor = Processor(
        tokenizer=tokenizer,
        plain=plain_tokenizer(tokenizer),
        specials=specials,
        image_processor=images,
        generation_config=generation,
        min_pixels=images.size["shortest_edge"],
        max_pixels=images.size["longest_edge"],
        image_token_id=specials[IMAGE],
        video_token_id=specials[VIDEO],
        vision_start_token_id=specials["<|vision_start|>"],
        vision_end_token_id=specials["<|vision_end|>"],
        eos_token_ids=tuple(dict.fromkeys((specials[END_OF_TURN], *eos))),
        pad_token_id=pad,
        vocab_tokens=max(tokenizer.get_vocab().values()) + 1,
    )
    _try_out(processor, template, directory / TOKENIZER)
    return processor


def _try_out(processor: Processor, template: Path, tokenizer: Path) -> None:
    """A conversation with an image becomes tokens. ValueError names the file that keeps it from that."""
    turns = [Turn("user", (Visual(IMAGE, 1), "a"))]
    for file, work in (
        (template, lambda: render(processor.tokenizer, turns, KINDS)),
        (tokenizer, lambda: (_tokens(processor, turns), decode(processor, encode_completion(processor, "a")))),
    ):
        try:
            guarded(work)
        except ValueError as error:
            raise ValueError(f"{file}: no prompt can be made with it ({error}); {AGAIN}") from None


def save_processor(processor: Processor, directory: str | Path) -> None:
    """Writes tokenizer and chat template, generation_config.json, preprocessor_config.json with the limits in force."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    processor.tokenizer.save_pretrained(str(directory))
    processor.image_processor.save_pretrained(str(directory))
    # Older transformers read the two limits by these names, newer ones the size that save_pretrained wrote.
    path = directory / "preprocessor_config.json"
    limits = {"min_pixels": processor.min_pixels, "max_pixels": processor.max_pixels}
    _write_json(path, {**read_json_object(path, AGAIN), **limits})
    if processor.generation_config is not None:
        _write_json(directory / "generation_config.json", processor.generation_config)


def encode_prompt(
    processor: Processor, text: str, images: Sequence = (), videos: Sequence[Sequence] = (), system: str | None = None
) -> EncodedPrompt:
    """One user turn: images, then videos, then the text, ready for the answer.

    With `processor.image_mark`, each image is in the place of a mark in the text instead: of the first marks, so that a
    question may hold more of them.
    images: PIL images, uint8 arrays or paths. videos: sequences of such frames. system: None for the template's own.
    Special tokens inside `text` and `system` are plain characters.
    """
    image_out = [image_patches(processor.image_processor, image, processor.nearest_pixels) for image in images]
    video_out = [video_patches(processor.image_processor, frames) for frames in videos]
    grids = [grid for _, grid in image_out], [grid for _, grid in video_out]
    return _encoded(processor, _turns(processor, text, *grids, system), image_out, video_out)


def encode_chat(processor: Processor, turns: Sequence[tuple[str, Sequence]]) -> EncodedPrompt:
    """A conversation of several turns, ready for the next answer.

    turns: (role, parts) with role 'system', 'user' or 'assistant'; a part is a text (str) or an image (a PIL image or a
    uint8 array), in the order in which the template is to print them. One user turn with its images in front of its
    text gives what `encode_prompt` gives.
    """
    image_out, filled = [], []
    for role, parts in turns:
        done = []
        for part in parts:
            if not isinstance(part, str):
                image_out.append(image_patches(processor.image_processor, part, processor.nearest_pixels))
                part = _visual(processor, IMAGE, image_out[-1][1])
            done.append(part)
        filled.append(Turn(role, tuple(done)))
    return _encoded(processor, filled, image_out, [])


def measure(
    processor: Processor, text: str, image_sizes: Iterable[tuple[int, int]] = (), system: str | None = None
) -> Size:
    """The size `encode_prompt` will give, from the (height, width) in pixels of each image, without their pixels."""
    near = processor.nearest_pixels
    grids = [image_grid(processor.image_processor, height, width, near) for height, width in image_sizes]
    tokens = _tokens(processor, _turns(processor, text, grids, [], system))
    return Size(len(tokens), tuple(t * h * w for t, h, w in grids))


def encode_completion(processor: Processor, text: str) -> np.ndarray:
    """int32[c]: tokens of an answer and the end of its turn; special tokens inside the text are plain characters."""
    ids = processor.plain.encode(text, add_special_tokens=False).ids
    return np.asarray([*ids, processor.eos_token_ids[0]], np.int32)


def decode(processor: Processor, ids: Sequence[int] | np.ndarray) -> str:
    """The text of an answer int[c] up to its first EOS token, special tokens left out."""
    ids = [int(i) for i in ids]
    end = next((k for k, i in enumerate(ids) if i in processor.eos_token_ids), len(ids))
    return processor.plain.decode(ids[:end], skip_special_tokens=True)


def _turns(
    processor: Processor, text: str, images: Sequence[Grid], videos: Sequence[Grid], system: str | None
) -> list[Turn]:
    pictures = [_visual(processor, IMAGE, grid) for grid in images]
    films = [_visual(processor, VIDEO, grid) for grid in videos]
    if processor.image_mark is None:
        parts = [*pictures, *films, text]
    else:
        parts = [*films, *_at_marks(text, processor.image_mark, pictures)]
    user = Turn("user", tuple(parts))
    return [user] if system is None else [Turn("system", (system,)), user]


def _at_marks(text: str, mark: str, pictures: Sequence[Visual]) -> list[str | Visual]:
    before, *behind = text.split(mark, len(pictures))
    if len(behind) < len(pictures):
        raise ValueError(f"the prompt has {len(behind)} {mark} for {len(pictures)} images: its template lacks them")
    parts = [before] + [part for pair in zip(pictures, behind, strict=True) for part in pair]
    return [part for part in parts if part != ""]


def _visual(processor: Processor, token: str, grid: Grid) -> Visual:
    return Visual(token, visual_tokens(grid, processor.merge_size))


def _tokens(processor: Processor, turns: Sequence[Turn]) -> list[int]:
    return chat_tokens(processor.tokenizer, processor.plain, processor.specials, turns, KINDS)


def _encoded(
    processor: Processor,
    turns: Sequence[Turn],
    images: Sequence[tuple[np.ndarray, Grid]],
    videos: Sequence[tuple[np.ndarray, Grid]],
) -> EncodedPrompt:
    return from_hf(
        _tokens(processor, turns),
        processor.image_token_id,
        processor.video_token_id,
        np.concatenate([patches for patches, _ in images]) if images else None,
        [grid for _, grid in images],
        np.concatenate([patches for patches, _ in videos]) if videos else None,
        [grid for _, grid in videos],
        processor.merge_size,
    )


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
