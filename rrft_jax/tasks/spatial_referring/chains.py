"""Chains of places in a scene: from a named object to the nearest one on its left or behind it, by true positions."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rrft_jax.tasks.scenes.camera import Camera
from rrft_jax.tasks.scenes.things import Thing

SIDES = {"to its left": (-1, 0), "to its right": (1, 0), "behind it": (0, 1), "in front of it": (0, -1)}
CLEAR = 1.25  # how much farther than the nearest the next candidate must be
DOUBT = (0.7, 1.43)  # an offset across over one along in this range is neither on one side nor on the other


@dataclass(frozen=True)
class Chain:
    """things: the anchor first, the target last. sides: between each and the next."""

    things: tuple[Thing, ...]
    sides: tuple[str, ...]


def on_ground(things: Sequence[Thing], camera: Camera) -> np.ndarray:
    """float64[n, 2]: places as the viewer has them, to the right and away, in scene units."""
    right, forward = camera.basis()[0, :2], camera.basis()[2, :2]
    places = np.array([(thing.x, thing.y) for thing in things])
    return places @ np.stack([right, forward / np.linalg.norm(forward)], axis=1)


def nearest(start: int, side: str, places: np.ndarray) -> int | None:
    """The nearest thing on that side of thing `start`; None where there is none, or anyone might doubt which it is."""
    offsets = places - places[start]
    axis = 0 if SIDES[side][0] else 1
    along, across = offsets[:, axis] * SIDES[side][axis], np.abs(offsets[:, 1 - axis])
    ahead = along > 1e-6
    share = np.where(ahead, across / np.maximum(along, 1e-6), np.inf)
    distance = np.linalg.norm(offsets, axis=1)
    found = np.flatnonzero(ahead & (share <= DOUBT[0]))
    if not found.size:
        return None
    best = found[np.argmin(distance[found])]
    rivals = np.flatnonzero(ahead & (share < DOUBT[1]) & (np.arange(len(places)) != best))
    return int(best) if all(distance[rivals] > CLEAR * distance[best]) else None


def draw_chain(rng: np.random.Generator, things: Sequence[Thing], camera: Camera, length: int) -> Chain | None:
    """A chain of `length` different things; None where this scene has none from the anchors that are drawn."""
    places, sides = on_ground(things, camera), list(SIDES)
    for start in rng.permutation(len(things)).tolist():
        path, words = [start], []
        while len(path) < length:
            options = [(side, nearest(path[-1], side, places)) for side in (sides[i] for i in rng.permutation(4))]
            fresh = [(side, place) for side, place in options if place is not None and place not in path]
            if not fresh:
                break
            words.append(fresh[0][0])
            path.append(fresh[0][1])
        if len(path) == length:
            return Chain(tuple(things[place] for place in path), tuple(words))
    return None


def short_name(thing: Thing, things: Sequence[Thing]) -> str | None:
    """The fewest attributes that no other thing has together, in spoken order, with its shape where a noun is wanted;
    None for a thing with a double."""
    own = thing.attributes()
    others = [other.attributes() for other in things if other is not thing]
    for count in range(3):
        for extra in itertools.combinations(range(3), count):
            places = (*extra, 3)
            if all(any(own[p] != other[p] for p in places) for other in others):
                return " ".join(own[p] for p in places)
    places = range(4)
    return " ".join(own) if all(any(own[p] != other[p] for p in places) for other in others) else None


def question(chain: Chain, names: Sequence[str]) -> str:
    """The chain in words."""
    if not chain.sides:
        return f"Point to the {names[0]}."
    hops = [f"the nearest object {side}" for side in chain.sides]
    return f"Start at the {names[0]}. Go to {', then '.join(hops)}. Point to where you are."
