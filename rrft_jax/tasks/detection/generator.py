"""Detection in rendered scenes, as a function of (seed, index, split, domain): every object of a category, or none."""

from collections.abc import Sequence

import numpy as np

from rrft_jax.answers.detections import write_detections
from rrft_jax.data.example import Example
from rrft_jax.tasks.localised import in_thousandths
from rrft_jax.tasks.scenes.extent import box_of, outline
from rrft_jax.tasks.scenes.render import render
from rrft_jax.tasks.scenes.shapes import COLOURS
from rrft_jax.tasks.scenes.things import Thing, listing
from rrft_jax.tasks.streams import stream
from rrft_jax.tasks.visual_counting.scene import DOMAINS, MATERIALS, Domain, sample_scene

NAME = "detection"
ABSENT = 0.2  # share of pictures without an object of the category
MOST = 3  # objects of the category: their boxes must fit in a completion


def example(seed: int, index: int, split: str = "train", domain: str = "in", image_size: int = 112) -> Example:
    """One example, whatever was asked before. domain: "in" or "out" (vehicles). The picture is
    uint8[image_size, image_size, 3]; gold boxes surround the pixels that an object covers."""
    if domain not in DOMAINS:
        raise ValueError(f"domain {domain!r} of detection is not one of {', '.join(DOMAINS)}")
    rng, where = stream(NAME, seed, index, split, domain), DOMAINS[domain]
    absent = rng.random() < ABSENT
    while True:  # until a category fits
        scene = sample_scene(rng, where)
        category = _category(rng, scene.things, where, absent)
        if category is not None:
            break
    chosen = [thing for thing in scene.things if belongs(thing, category)]
    view, size = where.view, (image_size, image_size)
    boxes = [box_of(outline(thing, view.camera, *size)) for thing in chosen]
    return Example(
        id=f"{NAME}-{domain}-{split}-{seed}-{index:06d}",
        task=NAME,
        problem=category,
        answer=write_detections([in_thousandths(box, size) for box in boxes]),
        images=(render(scene.things, view, image_size, image_size),),
        cot=f"{len(chosen)} found." if chosen else "None found.",
        metadata={
            "question_type": "present" if chosen else "absent", "index": index, "split": split, "domain": domain,
            "category": category, "boxes": boxes, "size": list(size), "num_objects": len(scene.things),
            "listing": listing(scene.things),
        },
    )  # fmt: skip


def belongs(thing: Thing, category: str) -> bool:
    """Whether a thing has every word of a category, such as "red cube"."""
    return set(category.split()) <= set(thing.attributes())


def _category(rng: np.random.Generator, things: Sequence[Thing], domain: Domain, absent: bool) -> str | None:
    """A shape with or without a colour or material; None where none that is drawn fits."""
    first = [""] * 2 + list(COLOURS) + list(MATERIALS)
    for _ in range(30):
        shape = domain.shapes[int(rng.integers(len(domain.shapes)))]
        category = f"{first[int(rng.integers(len(first)))]} {shape}".strip()
        count = sum(belongs(thing, category) for thing in things)
        if (count == 0) if absent else (1 <= count <= MOST):
            return category
    return None
