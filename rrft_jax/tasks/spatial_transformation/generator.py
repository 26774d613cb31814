"""Spatial examples as a function of (seed, index, split, domain)."""

from dataclasses import dataclass

import numpy as np

from rrft_jax.data.example import Example
from rrft_jax.tasks.scenes.render import render
from rrft_jax.tasks.scenes.things import Thing, View, listing, place
from rrft_jax.tasks.spatial_transformation.changes import SPOKEN, Transformation, answer, sample_transformation
from rrft_jax.tasks.spatial_transformation.reasoning import chain_of_thought, question
from rrft_jax.tasks.spatial_transformation.scene import CENTRE, DOMAINS
from rrft_jax.tasks.streams import stream

NAME = "spatial_transformation"
IMAGE_SIZE = (112, 112)


@dataclass(frozen=True)
class Picture:
    """What one picture shows, for supervising a vision tower.

    things: by id. places: float[n, 2], their centres as shares of the picture's width and height. ranks: int[n], their
    places from left to right in this picture.
    """

    things: tuple[Thing, ...]
    view: View
    places: np.ndarray
    ranks: np.ndarray

    def render(self, image_size: int) -> np.ndarray:
        """uint8[image_size, image_size, 3]"""
        return render(self.things, self.view, image_size, image_size)

    def in_order(self) -> tuple[Thing, ...]:
        """The objects from left to right."""
        return tuple(self.things[number] for number in np.argsort(self.ranks))


def example(seed: int, index: int, split: str = "train", domain: str = "in", image_size: int = 112) -> Example:
    """One example, whatever was asked before: a function of its arguments.

    split: any name; different names draw from disjoint random streams. domain: "in", or "left" or "right" for a final
    picture from that side (the initial one is from the centre, and directions mean the central camera's). image_size:
    pixels a side. The two pictures, initial and final, are uint8[image_size, image_size, 3].
    """
    drawn = transformation(seed, index, split, domain)
    pictures = _pictures(drawn, domain)
    return Example(
        id=f"spatial-{domain}-{split}-{seed}-{index:06d}",
        task=NAME,
        problem=question(drawn.before),
        answer=answer(drawn.changes),
        images=tuple(picture.render(image_size) for picture in pictures),
        cot=chain_of_thought(drawn, pictures[1].ranks),
        metadata={
            "question_type": f"{len(drawn.changes)} function{'s'[: len(drawn.changes) > 1]}",
            "index": index,
            "split": split,
            "domain": domain,
            "num_objects": len(drawn.before),
            "num_functions": len(drawn.changes),
            # As TRANCE's own metadata has them: objects in the order of their ids.
            "objects": [dict(zip(SPOKEN, thing.attributes(), strict=True)) for thing in drawn.before],
            "transformations": [{"obj_idx": c.number, "attr": c.attribute, "val": c.value} for c in drawn.changes],
            "listing": listing(pictures[1].in_order()),
        },
    )


def scenes_of(seed: int, index: int, split: str = "train", domain: str = "in") -> tuple[Picture, Picture]:
    """What the initial and the final picture of `example` show."""
    return _pictures(transformation(seed, index, split, domain), domain)


def transformation(seed: int, index: int, split: str = "train", domain: str = "in") -> Transformation:
    """What `example` draws before rendering. ValueError for an unknown domain."""
    if domain not in DOMAINS:
        raise ValueError(f"domain {domain!r} of the spatial task is not one of {', '.join(DOMAINS)}")
    return sample_transformation(stream(NAME, seed, index, split, domain))


def _pictures(drawn: Transformation, domain: str) -> tuple[Picture, Picture]:
    return _picture(drawn.before, CENTRE), _picture(drawn.after, DOMAINS[domain])


def _picture(things: tuple[Thing, ...], view: View) -> Picture:
    places = np.array([place(thing, view) for thing in things])
    return Picture(things, view, places, np.argsort(np.argsort(places[:, 0])))
