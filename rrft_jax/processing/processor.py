"""Tokenizer, chat template and image processor of a HuggingFace directory, composed without torch."""

import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from rrft_jax.data.example import IMAGE_MARK
from rrft_jax.fields import token_ids
from rrft_jax.files import read_json_object
from rrft_jax.models.positions import Grid, Span
from rrft_jax.models.protocol import Sizes, SpecialTokens
from rrft_jax.models.registry import family_of, read_config
from rrft_jax.processing.chat import (
    Prompt,
    Turn,
    Visual,
    chat_tokens,
    place_pictures,
    plain_tokenizer,
    render,
    reply_tokens,
    special_tokens,
)
from rrft_jax.processing.directory import AGAIN, TOKENIZER, guarded, load_image_processor, load_tokenizer
from rrft_jax.processing.encoded import EncodedPrompt, Size, from_hf
from rrft_jax.processing.images import image_grid, image_patches, video_patches
from rrft_jax.processing.positions import visual_tokens


@dataclass(frozen=True)
class Processor:
    """What turns texts and images into arrays, and tokens into text. Nothing in it changes, so threads may share it.

    eos_token_ids: end of turn first, then what generation_config.json adds. vocab_tokens: ids the tokenizer knows;
    the model may have more embedding rows. min_pixels, max_pixels: area of an image after resizing. nearest_pixels:
    area that a larger one is reduced to before that, see `image_patches`; 0 skips it. image_mark: the placeholder of an
    image in a prompt's text; None: images are in front of the text. special, positions, timestamps: as in the model's
    `Family`. frame_interval(seconds): the family's, of the model's sizes. patch_width: numbers in a patch.
    """

    tokenizer: Any
    plain: tokenizers.Tokenizer
    specials: Mapping[str, int]
    image_processor: Any
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
    special: SpecialTokens
    positions: Callable[[int, Sequence[Span], int], tuple[np.ndarray, int]]
    patch_size: int
    merge_size: int
    patch_width: int
    nearest_pixels: int = 0
    image_mark: str | None = None
    frame_interval: Callable[[float], float] | None = None
    timestamps: bool = False


def load_processor(
    directory: str | Path, min_pixels: int | None = None, max_pixels: int | None = None, sizes: Sizes | None = None
) -> Processor:
    """The processor of a HuggingFace directory; pixel limits in pixels, None for the directory's own.

    sizes: of the model that it prepares prompts for; None for those of the directory's config.json.
    Raises FileNotFoundError or ValueError naming the file and the field.
    """
    directory = Path(directory)
    tokenizer, template = load_tokenizer(directory)
    sizes = sizes or read_config(directory)
    family = family_of(sizes)
    images = load_image_processor(directory, min_pixels, max_pixels, sizes.vision, family.pixel_limits)
    plain, vocab_tokens = _try(
        directory / TOKENIZER, lambda: (plain_tokenizer(tokenizer), max(tokenizer.get_vocab().values()) + 1)
    )
    specials, special = special_tokens(tokenizer), family.tokens
    missing = [token for token in astuple(special) if token not in specials]
    if missing:
        raise ValueError(
            f"{directory}: special tokens {missing} are missing; this is no tokenizer of a {family.model_type}"
        )
    path = directory / "generation_config.json"
    generation = read_json_object(path, AGAIN) if path.is_file() else None
    eos = token_ids(generation or {}, path, "eos_token_id")
    if max(eos, default=0) >= sizes.vocab_size:
        raise ValueError(f"{path}: eos_token_id is {max(eos)}, config.json has {sizes.vocab_size} rows; {AGAIN}")
    pad = tokenizer.pad_token_id
    if pad is None:
        raise ValueError(f"{directory / 'tokenizer_config.json'}: pad_token is missing; Qwen's is <|endoftext|>")
    processor = Processor(
        tokenizer=tokenizer,
        plain=plain,
        specials=specials,
        image_processor=images,
        generation_config=generation,
        min_pixels=images.size["shortest_edge"],
        max_pixels=images.size["longest_edge"],
        image_token_id=specials[special.image],
        video_token_id=specials[special.video],
        vision_start_token_id=specials[special.vision_start],
        vision_end_token_id=specials[special.vision_end],
        eos_token_ids=tuple(dict.fromkeys((specials[special.end_of_turn], *eos))),
        pad_token_id=pad,
        vocab_tokens=vocab_tokens,
        special=special,
        positions=family.positions,
        patch_size=sizes.vision.patch_size,
        merge_size=sizes.vision.spatial_merge_size,
        patch_width=sizes.vision.patch_dim,
        frame_interval=None if family.frame_interval is None else functools.partial(family.frame_interval, sizes),
        timestamps=family.timestamps,
    )
    turns = [Turn("user", (Visual(special.image, 1), "a"))]  # a conversation with an image becomes tokens, and back
    _try(template, lambda: render(tokenizer, turns, _kinds(processor)))
    back = lambda: decode(processor, encode_completion(processor, "a"))  # noqa: E731
    _try(directory / TOKENIZER, lambda: (_tokens(processor, turns), back()))
    return processor


def _try(file: Path, work: Callable[[], Any]) -> Any:
    """Calls work(); ValueError names the file that made it fail."""
    try:
        return guarded(work)
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
    processor: Processor, text: str, images: Sequence = (), videos: Sequence[Sequence] = (), system: str | None = None,
    history: Sequence[tuple[str, str]] = (), fps: Sequence[float] = (),
) -> EncodedPrompt:
    """One user turn: images, then videos, then the text, ready for the answer. history: see `chat.Prompt`.

    With `processor.image_mark`, each image takes the place of a mark in the text instead, of the first marks if the
    question holds more. Without it the same happens where the user's texts hold as many IMAGE_MARK as there are images.
    images: PIL images, uint8 arrays or paths. videos: sequences of such frames; fps: how many frames of each are one
    second, which families need that know the time in a video. system: None for the template's own.
    Special tokens inside the texts are plain characters.
    """
    if fps and len(fps) != len(videos) or not all(rate > 0 for rate in fps):
        raise ValueError(f"fps={list(fps)} is not a positive number for each of {len(videos)} videos")
    if videos and not fps and (processor.timestamps or processor.frame_interval):
        raise ValueError("this model knows the time in a video: give fps, the frames per second of each video")
    image_out = [image_patches(processor.image_processor, image, processor.nearest_pixels) for image in images]
    video_out = [video_patches(processor.image_processor, frames) for frames in videos]
    grids = [grid for _, grid in image_out], [grid for _, grid in video_out]
    times = [_times(len(frames), processor, rate) for frames, rate in zip(videos, fps, strict=bool(fps))]
    turns = _turns(processor, Prompt(text, tuple(history), system), *grids, times)
    return _encoded(processor, turns, image_out, video_out, fps)


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
                part = _visual(processor, processor.special.image, image_out[-1][1])
            done.append(part)
        filled.append(Turn(role, tuple(done)))
    return _encoded(processor, filled, image_out, [], ())


def measure(
    processor: Processor, text: str, image_sizes: Iterable[tuple[int, int]] = (), system: str | None = None,
    history: Sequence[tuple[str, str]] = (),
) -> Size:
    """The size `encode_prompt` will give, from the (height, width) in pixels of each image, without their pixels."""
    near = processor.nearest_pixels
    grids = [image_grid(processor.image_processor, height, width, near) for height, width in image_sizes]
    tokens = _tokens(processor, _turns(processor, Prompt(text, tuple(history), system), grids, []))
    return Size(len(tokens), tuple(t * h * w for t, h, w in grids))


def encode_completion(processor: Processor, text: str) -> np.ndarray:
    """int32[c]: tokens of an answer and the end of its turn; special tokens inside the text are plain characters."""
    ids = processor.plain.encode(text, add_special_tokens=False).ids
    return np.asarray([*ids, processor.eos_token_ids[0]], np.int32)


def encode_replies(
    processor: Processor, history: Sequence[tuple[str, str]], text: str, reply: str
) -> tuple[np.ndarray, np.ndarray]:
    """int32[c] and bool[c]: tokens of a conversation after its first question; which of them the assistant generates.

    history and `text` as in `encode_prompt`, of which the first question alone is the prompt here; reply: the answer to
    `text`. Raises ValueError for a picture in a later question: only prompts hold pictures.
    """
    said = [*history, ("user", text), ("assistant", reply)]
    if any(IMAGE_MARK in text for _, text in said[1:]):
        raise ValueError("a later question holds a picture: config.sft.turns=last trains on its last answer")
    turns = [Turn(role, (text,)) for role, text in said]
    end = processor.special.end_of_turn
    ids, own = reply_tokens(processor.tokenizer, processor.plain, processor.specials, turns, end)
    return np.asarray(ids, np.int32), np.asarray(own, bool)


def decode(processor: Processor, ids: Sequence[int] | np.ndarray) -> str:
    """The text of an answer int[c] up to its first EOS token, special tokens left out."""
    ids = [int(i) for i in ids]
    end = next((k for k, i in enumerate(ids) if i in processor.eos_token_ids), len(ids))
    return processor.plain.decode(ids[:end], skip_special_tokens=True)


def _turns(
    processor: Processor, prompt: Prompt, images: Sequence[Grid], videos: Sequence[Grid],
    times: Sequence[Sequence[float]] = (),
) -> list[Turn]:  # fmt: skip
    """times: of the frame pairs of each video."""
    pictures = [_visual(processor, processor.special.image, grid) for grid in images]
    films = [_visual(processor, processor.special.video, grid) for grid in videos]
    if processor.timestamps:
        films = [_stamped(processor, grid, seconds) for grid, seconds in zip(videos, times, strict=True)]
    turns = [] if prompt.system is None else [Turn("system", (prompt.system,))]
    placed = place_pictures(prompt, pictures, processor.image_mark, films)
    return turns + [Turn(role, tuple(parts)) for role, parts in placed]


def _visual(processor: Processor, token: str, grid: Grid) -> Visual:
    return Visual(token, visual_tokens(grid, processor.merge_size))


def _times(frames: int, processor: Processor, rate: float) -> list[float]:
    """Seconds from the start to the middle of each frame pair; an odd last frame is paired with itself."""
    pair = processor.image_processor.temporal_patch_size
    return [(i / rate + min(i + pair - 1, frames - 1) / rate) / 2 for i in range(0, frames, pair)]


def _stamped(processor: Processor, grid: Grid, seconds: Sequence[float]) -> Visual:
    """A video whose frame pairs have their time in front of them, as processors of such families write it."""
    special, each = processor.special, visual_tokens((1, *grid[1:]), processor.merge_size)
    times = tuple(f"<{time:.1f} seconds>" for time in seconds)
    return Visual(special.video, each, times, (special.vision_start, special.vision_end))


def _tokens(processor: Processor, turns: Sequence[Turn]) -> list[int]:
    return chat_tokens(processor.tokenizer, processor.plain, processor.specials, turns, _kinds(processor))


def _kinds(processor: Processor) -> dict[str, str]:
    """Special token -> its name in a chat template's content parts."""
    return {processor.special.image: "image", processor.special.video: "video"}


def _encoded(
    processor: Processor,
    turns: Sequence[Turn],
    images: Sequence[tuple[np.ndarray, Grid]],
    videos: Sequence[tuple[np.ndarray, Grid]],
    fps: Sequence[float],
) -> EncodedPrompt:
    grids, intervals = [grid for _, grid in videos], ()
    if processor.timestamps:  # each frame pair stands alone
        grids = [(1, h, w) for t, h, w in grids for _ in range(t)]
    elif processor.frame_interval:
        intervals = [processor.frame_interval(processor.image_processor.temporal_patch_size / rate) for rate in fps]
    return from_hf(
        _tokens(processor, turns),
        processor.image_token_id,
        processor.video_token_id,
        np.concatenate([patches for patches, _ in images]) if images else None,
        [grid for _, grid in images],
        np.concatenate([patches for patches, _ in videos]) if videos else None,
        grids,
        processor.merge_size,
        processor.patch_width,
        processor.positions,
        intervals,
    )


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
