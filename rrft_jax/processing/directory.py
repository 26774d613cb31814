"""Tokenizer, chat template and image processor from the files of a model directory, each error naming the file."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tokenizers
from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedConfig

from rrft_jax.fields import count, flag, number, numbers, section_of, text
from rrft_jax.files import read_bounded, read_json_object, shown
from rrft_jax.models.protocol import VisionSizes

T = TypeVar("T")
AGAIN = "get the file again from where the model came from"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
_OTHERS = ("special_tokens_map.json", "added_tokens.json", "vocab.json", "config.json")  # that transformers may look at
_VOCABULARY = ("vocab.json", "merges.txt")  # what tokenizer.json may be made of
PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
TEMPLATE, OLD_TEMPLATE = "chat_template.jinja", "chat_template.json"
_LARGE = 2**28  # bytes of a tokenizer
_MAX_MIN_PIXELS = 2**26  # pixels that every image may be enlarged to
_log = logging.getLogger(__name__)


def load_tokenizer(directory: Path) -> tuple[Any, Path]:
    """The HuggingFace tokenizer of a directory, with its chat template, and the file that holds the template.

    Raises FileNotFoundError or ValueError in one line.
    """
    path = directory / TOKENIZER_CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found: give a whole HuggingFace model directory")
    settings = read_json_object(path, AGAIN)
    if not (directory / TOKENIZER).is_file() and not all((directory / name).is_file() for name in _VOCABULARY):
        # transformers would make a tokenizer without a single word
        raise FileNotFoundError(f"{directory / TOKENIZER} not found: give a whole HuggingFace model directory")
    # transformers asks the model's config for its type alone, but refuses fields of other types than its own.
    model: Any = PreTrainedConfig()
    config = directory / "config.json"
    model.model_type = text(read_json_object(config, AGAIN), config, "model_type", "") if config.is_file() else ""
    try:
        tokenizer: Any = guarded(
            lambda: AutoTokenizer.from_pretrained(
                str(directory), config=model, trust_remote_code=False, local_files_only=True
            )
        )
    except ValueError as error:
        raise ValueError(f"{_damaged_file(directory)}: no tokenizer can be made of it ({error}); {AGAIN}") from None
    source = _template_file(directory, settings)
    if source.name == OLD_TEMPLATE:
        tokenizer.chat_template = text(read_json_object(source, AGAIN), source, "chat_template")
    return tokenizer, source


def guarded(function: Callable[[], T]) -> T:
    """Calls function(); every error becomes a ValueError with a reason in one line: libraries raise errors of any type
    for damaged files, and those in Rust panic."""
    try:
        return function()
    except Exception as error:
        raise ValueError(_reason(error)) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(_reason(error)) from None


def _reason(error: BaseException) -> str:
    line = (str(error).strip().splitlines() or ["no reason given"])[0][:300]
    return line if isinstance(error, ValueError) else f"{type(error).__name__}: {line}"


def _damaged_file(directory: Path) -> Path:
    """The file that kept the tokenizer from loading; ValueError where it is no JSON object at all."""
    _refuse_mark(directory)
    for name in (TOKENIZER, *_OTHERS):
        if (directory / name).is_file():
            read_json_object(directory / name, AGAIN, limit=_LARGE)
    try:
        if (directory / TOKENIZER).is_file():
            guarded(lambda: tokenizers.Tokenizer.from_file(str(directory / TOKENIZER)))
    except ValueError:
        return directory / TOKENIZER
    return directory / TOKENIZER_CONFIG


def _refuse_mark(directory: Path) -> None:
    """ValueError for a file with a byte order mark: we read it, transformers blames another file or none."""
    for file in sorted(directory.glob("*.json")):
        if file.is_file() and read_bounded(file, _LARGE).startswith(b"\xef\xbb\xbf"):
            raise ValueError(f"{file}: begins with a byte order mark, which transformers does not read; save it as "
                             "UTF-8 without one")  # fmt: skip


def _template_file(directory: Path, settings: dict) -> Path:
    """The file whose chat template is used: as transformers' tokenizer chooses, then chat_template.json, where
    older directories keep it and only AutoProcessor looks. settings: of tokenizer_config.json."""
    found: dict[str, Any] = {}
    if (path := directory / TEMPLATE).is_file():
        try:
            found[TEMPLATE] = read_bounded(path, 2**22).decode("utf-8")
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: cannot be read ({error}); {AGAIN}") from None
    if settings.get("chat_template") is not None:
        found[TOKENIZER_CONFIG] = settings["chat_template"]
    if (path := directory / OLD_TEMPLATE).is_file():
        found[OLD_TEMPLATE] = text(read_json_object(path, AGAIN), path, "chat_template")
    if not found:
        raise ValueError(
            f"{directory}: no chat template in {TOKENIZER_CONFIG}, {TEMPLATE} or {OLD_TEMPLATE}: copy {TEMPLATE} from "
            "the directory of the model that it was made of"
        )
    first, *others = found
    if different := [name for name in others if found[name] != found[first]]:
        _log.warning("%s: the chat template of %s is used, and that of %s is another: keep the one that the model was "
                     "trained with", directory, first, ", ".join(different))  # fmt: skip
    return directory / first


def load_image_processor(
    directory: Path, min_pixels: int | None, max_pixels: int | None, vision: VisionSizes, published: tuple[int, int]
) -> Any:
    """As transformers 5 chooses: processor_config.json where it holds an image processor, else
    preprocessor_config.json. min_pixels, max_pixels: instead of the file's. published: both, where none says them."""
    older, newer = directory / PREPROCESSOR, directory / PROCESSOR
    found = {older: read_json_object(older, AGAIN)} if older.is_file() else {}
    if newer.is_file() and (nested := section_of(read_json_object(newer, AGAIN), newer, "image_processor")):
        found[newer] = nested
    if not found:
        raise FileNotFoundError(
            f"{older} not found, nor an image_processor in {PROCESSOR}: give a whole HuggingFace model directory"
        )
    path, config = found.popitem()
    if found and (others := _limits(found[older], older, published)) != _limits(config, path, published):
        _log.warning("%s: the pixel limits of %s are used, as in transformers; %s has others, %s: keep one of the two",
                     directory, PROCESSOR, PREPROCESSOR, others)  # fmt: skip
    _check_fields(config, path, vision)
    low, high = _limits(config, path, published)
    low, high = low if min_pixels is None else min_pixels, high if max_pixels is None else max_pixels
    if not 0 < low <= high:
        raise ValueError(f"{path}: min_pixels {low} must be positive and at most max_pixels {high}; change either")
    across = 2 * vision.spatial_merge_size  # patches of the picture that the processor is tried with
    side = across * vision.patch_size
    try:
        # The class that the file names, in its version for NumPy and Pillow: the others need torch.
        images = guarded(
            lambda: AutoImageProcessor.from_pretrained(
                str(directory), backend="pil", trust_remote_code=False, local_files_only=True,
                size={"shortest_edge": low, "longest_edge": high}, min_pixels=None, max_pixels=None,
            )
        )  # fmt: skip
        tried = guarded(
            lambda: images(
                images=[np.zeros((side, side, 3), np.uint8)],
                size={"shortest_edge": side * side, "longest_edge": side * side},
            )["pixel_values"]
        )
    except ValueError as error:
        _refuse_mark(directory)
        raise ValueError(f"{path}: it processes no image ({error}); {AGAIN}") from None
    made, wanted = getattr(tried, "shape", None), (across**2, vision.patch_dim)
    if made != wanted:
        kind = config.get("image_processor_type")
        raise ValueError(
            f"{path}: with its image_processor_type {kind!r} an image becomes {made or 'other'} values, not the "
            f"{wanted} that fit vision_config in config.json: take both files from one model"
        )
    if not np.isfinite(tried).all():
        raise ValueError(f"{path}: an image becomes values that are not all finite; {AGAIN}")
    return images


def _check_fields(config: dict, path: Path, vision: VisionSizes) -> None:
    geometry = {
        "patch_size": vision.patch_size, "merge_size": vision.spatial_merge_size,
        "temporal_patch_size": vision.temporal_patch_size,
    }  # fmt: skip
    wrong = {k: config[k] for k, v in geometry.items() if config.get(k, v) != v or type(config.get(k, v)) is not int}
    if wrong:
        raise ValueError(
            f"{path}: {shown(wrong)} is not config.json's {geometry}; its patches would not fit the vision tower"
        )
    for name in ("do_resize", "do_rescale", "do_normalize", "do_convert_rgb"):
        if not flag(config, path, name, True) and name == "do_resize":
            raise ValueError(f"{path}: do_resize is false, but an image is cut into patches after it; set it to true")
    count(config, path, "resample", default=3, least=0, most=5)
    number(config, path, "rescale_factor", default=1 / 255)
    numbers(config, path, "image_mean", 3, positive=False, default=None)
    numbers(config, path, "image_std", 3, positive=True, default=None)


def _limits(config: dict, path: Path, published: tuple[int, int]) -> tuple[int, int]:
    """(min_pixels, max_pixels). As in transformers the field of this name counts, then size.shortest_edge; and the
    name within size, which published directories have."""
    defaults = dict(zip(("shortest_edge", "longest_edge"), published, strict=True))
    size, found = section_of(config, path, "size"), []
    for name, edge, most in (("min_pixels", "shortest_edge", _MAX_MIN_PIXELS), ("max_pixels", "longest_edge", 2**40)):
        outer = count(config, path, name, default=None, most=most)
        inner = [count(size, path, key, default=None, most=most) for key in (edge, name)]
        if outer is None and None not in inner and inner[0] != inner[1]:
            raise ValueError(f"{path}: size.{edge} is {inner[0]} and size.{name} is {inner[1]}: remove one of the two")
        given = [value for value in (outer, *inner) if value is not None]
        if not given and size:
            raise ValueError(f"{path}: size has neither {edge} nor {name}: add one of them")
        found.append(given[0] if given else defaults[edge])
    return found[0], found[1]
