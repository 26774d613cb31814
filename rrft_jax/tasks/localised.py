"""What tasks whose answers are places in a picture share: checks of their records, and coordinates as texts."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rrft_jax.answers.tags import split_thought
from rrft_jax.data.decoding import PictureError, image_size, open_image
from rrft_jax.data.example import Example
from rrft_jax.data.sizes import SIDE
from rrft_jax.rewards.boxes import Box, as_box
from rrft_jax.rewards.coordinates import CONVENTIONS, Frame, convert, frame, rewrite, size_of, written
from rrft_jax.tasks.task import Task
from rrft_jax.tasks.texts import ans_target

THINKING = "Output the thinking process in <think> </think> and final answer in <answer> </answer> tags."


def checked_size(example: Example) -> tuple[int, int]:
    """(width, height) that the record states. ValueError where it states none, or another than its picture has."""
    stated = size_of(example)
    if example.images:
        try:
            found = image_size(example.images[0])[::-1]
            if found != stated:  # turned by what its file says of its orientation, perhaps
                found = open_image(example.images[0]).size
        except PictureError as error:
            raise ValueError(f"its picture cannot be read ({error}): restore it") from None
        if found != stated:
            raise ValueError(
                f"size is {stated[0]}x{stated[1]} and its picture has {found[0]}x{found[1]} pixels: correct the size, "
                "or restore the picture that was annotated"
            )
    return stated


def checked_box(value: Any, size: Sequence[int], field: str = "box") -> Box:
    """A gold box in pixels. ValueError where it is none, has no area, or reaches out of a picture of that size."""
    box = as_box(value)
    if box is None or not box.upright:
        raise ValueError(f"{field} {value!r:.80} is not [x1, y1, x2, y2] with x1 < x2 and y1 < y2: correct it")
    if box.x1 < 0 or box.y1 < 0 or box.x2 > size[0] or box.y2 > size[1]:
        raise ValueError(f"{field} {list(box)} lies outside its picture of {size[0]}x{size[1]} pixels: correct it")
    return box


def checked_point(value: Any, size: Sequence[int], field: str = "point") -> tuple[float, float]:
    """A gold point in pixels, inside a picture of that size. ValueError where it is none."""
    good = isinstance(value, list | tuple) and len(value) == 2
    if not good or any(isinstance(x, bool) or not isinstance(x, int | float) for x in value):
        raise ValueError(f"{field} is {value!r:.80}; give [x, y] in pixels of the picture")
    if not (0 <= value[0] <= size[0] and 0 <= value[1] <= size[1]):
        raise ValueError(f"{field} {list(value)} lies outside its picture of {size[0]}x{size[1]} pixels: correct it")
    return float(value[0]), float(value[1])


def one_line_target(example: Example) -> str:
    """The reference completion that reasons, as Visual-RFT asks for it: its published reader of lists takes no answer
    that a line break parts from its tags. ValueError for an example without a chain of thought."""
    if not (example.cot or "").strip():
        raise ValueError(f"example {example.id} has no cot: train it with the direct-answer target instead")
    return f"<think>{split_thought(example.cot or '')[0]}</think> <answer>{ans_target(example)}</answer>"


def in_thousandths(box: Iterable[float], size: Sequence[int]) -> list[int]:
    """Pixel coordinates x, y, x, y, ... as whole thousandths of the sides."""
    return [int(text) for text in written(convert(list(box), "pixels", "thousandths", frame(*size)), "thousandths")]


def in_shares(point: Sequence[float], size: Sequence[int]) -> tuple[float, float]:
    """A pixel point in shares of the sides, to three decimals."""
    x, y = convert(point, "pixels", "unit", frame(*size))
    return round(x, 3), round(y, 3)


def written_in(convention: str) -> Callable[[str, str, Frame], str]:
    """`Task.rewrite` of a task whose answers have all their places in brackets, in this convention."""
    return lambda text, source, frame: rewrite(text, source, convention, frame)


def place_reader(
    task: Task, coordinates: str, min_pixels: int, max_pixels: int, side: int = SIDE
) -> Callable[[str, Example], str]:
    """(text, example) -> the text as the task's rewards read it, for answers whose places are in `coordinates`; "" for
    the task's own convention.

    The limits and the side of a visual token, in pixels, are of the image processor of whoever answers: they decide
    what a resized pixel is. ValueError for an unknown convention and for a task whose answers hold no places.
    """
    if not coordinates:
        return lambda text, example: text
    if coordinates not in CONVENTIONS:
        raise ValueError(f"coordinates={coordinates!r}: choose one of {', '.join(CONVENTIONS)}")
    change = task.rewrite
    if change is None:
        raise ValueError(f"coordinates={coordinates}: answers of {task.name} hold no places in a picture, leave it out")
    return lambda text, example: change(text, coordinates, frame(*size_of(example), min_pixels, max_pixels, side))
