"""Counting examples as a function of (seed, index, split, domain)."""

from dataclasses import replace

import numpy as np

from rrft_jax.data.example import Example
from rrft_jax.tasks.scenes.render import render
from rrft_jax.tasks.scenes.shapes import COLOURS
from rrft_jax.tasks.scenes.things import listing
from rrft_jax.tasks.streams import stream
from rrft_jax.tasks.visual_counting.questions import Question, answer, sample_question
from rrft_jax.tasks.visual_counting.reasoning import chain_of_thought
from rrft_jax.tasks.visual_counting.scene import DOMAINS, MATERIALS, Domain, Scene, sample_scene

NAME = "visual_counting"
FLIP_ATTEMPTS = 200


def example(
    seed: int, index: int, split: str = "train", domain: str = "in", image_size: int = 112, kind: str | None = None
) -> Example:
    """One example, whatever was asked before: a function of its arguments.

    split: any name; different names draw from disjoint random streams. domain: "in" or "out". image_size: pixels a
    side. kind: a question type, or None to draw one. The picture is uint8[image_size, image_size, 3].
    """
    scene, question = scene_and_question(seed, index, split, domain, kind)
    return _example(scene, question, f"counting-{domain}-{split}-{seed}-{index:06d}", index, split, image_size)


def flip_pair(
    seed: int, index: int, split: str = "flip", domain: str = "in", image_size: int = 112
) -> tuple[Example, Example]:
    """Two examples with one question whose scenes differ in one attribute of one object, and whose answers differ.

    Size stays, so that the changed object fits where the old one stood. Raises RuntimeError if no pair is found.
    """
    where = _domain(domain)
    rng = stream(NAME, seed, index, f"{split}/pair", domain)
    for _ in range(FLIP_ATTEMPTS):
        scene = sample_scene(rng, where)
        question = sample_question(rng, scene.things)
        if question is None:
            continue
        other = _change_one(rng, scene)
        if answer(scene.things, question) != answer(other.things, question):
            stem = f"counting-{domain}-{split}-{seed}-{index:06d}"
            return (
                _example(scene, question, stem + "-a", index, split, image_size),
                _example(other, question, stem + "-b", index, split, image_size),
            )
    raise RuntimeError(f"no flipping pair for seed {seed}, index {index} after {FLIP_ATTEMPTS} scenes")


def scene_and_question(
    seed: int, index: int, split: str = "train", domain: str = "in", kind: str | None = None
) -> tuple[Scene, Question]:
    """What `example` draws before rendering, for tests and tools."""
    where = _domain(domain)
    rng = stream(NAME, seed, index, split, domain)
    while True:  # a scene of three equal objects, say, allows no adversarial question: draw another
        scene = sample_scene(rng, where)
        question = sample_question(rng, scene.things, kind)
        if question is not None:
            return scene, question


def _domain(name: str) -> Domain:
    if name not in DOMAINS:
        raise ValueError(f"domain {name!r} of the counting task is not one of {', '.join(DOMAINS)}")
    return DOMAINS[name]


def _change_one(rng: np.random.Generator, scene: Scene) -> Scene:
    """The scene with the colour, material or shape of one object redrawn to another value."""
    where = int(rng.integers(len(scene.things)))
    old = scene.things[where]
    field, values = (("colour", tuple(COLOURS)), ("material", MATERIALS), ("shape", scene.domain.shapes))[
        int(rng.integers(3))
    ]
    others = [value for value in values if value != getattr(old, field)]
    new = replace(old, **{field: others[int(rng.integers(len(others)))]})
    return replace(scene, things=(*scene.things[:where], new, *scene.things[where + 1 :]))


def _example(scene: Scene, question: Question, name: str, index: int, split: str, image_size: int) -> Example:
    return Example(
        id=name,
        task=NAME,
        problem=question.text(),
        answer=str(answer(scene.things, question)),
        images=(render(scene.things, scene.domain.view, image_size, image_size),),
        cot=chain_of_thought(scene.things, question),
        metadata={
            "question_type": question.kind,
            "index": index,
            "split": split,
            "domain": scene.domain.name,
            "num_objects": len(scene.things),
            "listing": listing(scene.things),
        },
    )
