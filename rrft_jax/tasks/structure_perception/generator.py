"""Structure-perception examples as a function of (seed, index, split, domain)."""

from collections.abc import Sequence

import numpy as np

from rrft_jax.data.example import Example
from rrft_jax.tasks.streams import stream
from rrft_jax.tasks.structure_perception.families import FAMILIES
from rrft_jax.tasks.structure_perception.figure import FRAME, STYLES, Figure, render
from rrft_jax.tasks.structure_perception.problem import Exercise, show
from rrft_jax.tasks.structure_perception.settle import legible_figure

NAME = "structure_perception"
DOMAINS = tuple(FAMILIES)
IMAGE_SIZE = (FRAME, FRAME)
LETTERS = "ABCD"
CHOICE_SHARE = 0.4  # of the questions are multiple choice


def example(
    seed: int, index: int, split: str = "train", domain: str = "in", image_size: int = FRAME, kind: str | None = None
) -> Example:
    """One example, whatever was asked before: a function of its arguments.

    split: any name; different names draw from disjoint random streams. domain: "in" or "out". image_size: pixels a
    side. kind: a family of the domain, or None to draw one. The picture is uint8[image_size, image_size, 3].
    """
    family, problem, figure, choices = _drawn(seed, index, split, domain, kind)
    answer, question = show(problem.answer), problem.question
    steps = problem.work(figure.labels)
    if choices:
        letter = LETTERS[choices.index(answer)]
        listed = ", ".join(f"{name}: {value}" for name, value in zip(LETTERS, choices, strict=True))
        question = f"{question} Choices: {listed}."
        steps = [*steps, naming(choices, letter)]
        answer = letter
    return Example(
        id=f"structure-{domain}-{split}-{seed}-{index:06d}",
        task=NAME,
        problem=question,
        answer=answer,
        images=(render(figure, STYLES[domain], image_size),),
        cot=" ".join([figure.listing(), *steps]),
        metadata={
            "question_type": family,
            "answer_type": "choice" if choices else "numeric",
            "index": index,
            "split": split,
            "domain": domain,
            "listing": figure.listing(),
        },
    )


def figure_of(seed: int, index: int, split: str = "train", domain: str = "in", kind: str | None = None) -> Figure:
    """The figure that `example` draws, to supervise a vision tower: its name and its labels in reading order.

    A label has its text, its part in the figure and the centre of its box in the frame of 112 pixels.
    """
    return _drawn(seed, index, split, domain, kind)[2]


def _drawn(
    seed: int, index: int, split: str, domain: str, kind: str | None
) -> tuple[str, Exercise, Figure, Sequence[str]]:
    """Family, problem, figure and the choices, () for a numeric question."""
    if domain not in FAMILIES:
        raise ValueError(f"domain {domain!r} of the structure task is not one of {', '.join(FAMILIES)}")
    families = FAMILIES[domain]
    if kind is not None and kind not in families:
        raise ValueError(f"question kind {kind!r} of domain {domain!r} is not one of {', '.join(families)}")
    rng = stream(NAME, seed, index, split, domain)
    drawn = list(families)[int(rng.integers(len(families)))]
    family = kind or drawn
    while True:  # the labels of a narrow figure may find no room: draw another of the family
        problem = families[family](rng)
        figure = legible_figure(rng, problem.pose)
        if figure is not None:
            return family, problem, figure, _choices(rng, problem) if rng.random() < CHOICE_SHARE else ()


def naming(choices: Sequence[str], letter: str) -> str:
    """The choices with their letters behind them, then the result with its own: "57 A, 58 B, 59 C, 60 D. 59 C.". What
    follows a value is easier to repeat for a small model than what precedes it."""
    listed = ", ".join(f"{value} {name}" for name, value in zip(LETTERS, choices, strict=True))
    return f"{listed}. {choices[LETTERS.index(letter)]} {letter}."


def _choices(rng: np.random.Generator, problem: Exercise) -> list[str]:
    """Four ascending values of equal distance, the answer at a uniformly drawn place."""
    below = int(rng.integers(len(LETTERS)))
    return [show(problem.answer + (i - below) * problem.spread) for i in range(len(LETTERS))]
