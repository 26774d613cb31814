"""A question that one object of a scene answers, as a function of (seed, index, split, domain)."""

from collections.abc import Sequence

import numpy as np

from rrft_jax.data.example import Example
from rrft_jax.tasks.localised import in_thousandths
from rrft_jax.tasks.scenes.extent import box_of, outline
from rrft_jax.tasks.scenes.render import render
from rrft_jax.tasks.scenes.things import Thing, listing, name
from rrft_jax.tasks.streams import stream
from rrft_jax.tasks.visual_counting.scene import DOMAINS, sample_scene

NAME = "reasoning_grounding"
ORDINALS = ("first", "second", "third", "fourth")


def example(seed: int, index: int, split: str = "train", domain: str = "in", image_size: int = 112) -> Example:
    """One example, whatever was asked before. domain: "in" or "out" (vehicles)."""
    if domain not in DOMAINS:
        raise ValueError(f"domain {domain!r} of grounding is not one of {', '.join(DOMAINS)}")
    rng, where = stream(NAME, seed, index, split, domain), DOMAINS[domain]
    scene = sample_scene(rng, where)
    kind, question, thing = _question(rng, scene.things)
    size = (image_size, image_size)
    box = box_of(outline(thing, where.view.camera, *size))
    x1, y1, x2, y2 = in_thousandths(box, size)
    return Example(
        id=f"grounding-{domain}-{split}-{seed}-{index:06d}",
        task=NAME,
        problem=question,
        answer=f"({x1},{y1}),({x2},{y2})",
        images=(render(scene.things, where.view, *size),),
        cot=f"It is the {name(thing)}.",
        metadata={
            "question_type": kind, "index": index, "split": split, "domain": domain, "box": box, "size": list(size),
            "num_objects": len(scene.things), "listing": listing(scene.things),
        },
    )  # fmt: skip


def _question(rng: np.random.Generator, things: Sequence[Thing]) -> tuple[str, str, Thing]:
    """(kind, text, the thing meant). Things are in order from left to right."""
    kinds = [_only, _end, _ordinal]
    for number in rng.permutation(len(kinds)):
        found = kinds[number](rng, things)
        if found is not None:
            return found
    raise AssertionError("every scene has a first object from the left")


def _only(rng, things):
    """The one object of a colour, material or shape."""
    words = sorted({word for thing in things for word in thing.attributes()[1:]})
    single = [w for w in words if sum(w in thing.attributes() for thing in things) == 1]
    if not single:
        return None
    word = single[int(rng.integers(len(single)))]
    thing = next(thing for thing in things if word in thing.attributes())
    noun = word if word == thing.shape else f"{word} object"
    return "only", f"Where is the only {noun}?", thing


def _end(rng, things):
    """The leftmost or rightmost of several of a shape."""
    shapes = sorted({thing.shape for thing in things})
    several = [shape for shape in shapes if sum(thing.shape == shape for thing in things) > 1]
    if not several:
        return None
    shape = several[int(rng.integers(len(several)))]
    same, left = [thing for thing in things if thing.shape == shape], bool(rng.integers(2))
    return "end", f"Where is the {'left' if left else 'right'}most {shape}?", same[0 if left else -1]


def _ordinal(rng, things):
    """The n-th object from one side."""
    place, left = int(rng.integers(min(len(ORDINALS), len(things)))), bool(rng.integers(2))
    thing = things[place] if left else things[len(things) - 1 - place]
    return "ordinal", f"Where is the {ORDINALS[place]} object from the {'left' if left else 'right'}?", thing
