"""Scenes of the spatial task: three to five objects that a central, a left and a right camera all see one by one.

Every scene, initial or final, keeps its objects apart in all three views, whichever of them is drawn: so the domains
differ by the viewpoint alone.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from rrft_jax.tasks.scenes.camera import orbit, project
from rrft_jax.tasks.scenes.shapes import COLOURS, MATERIALS, SHAPES, SILHOUETTE, SIZES, centre_height
from rrft_jax.tasks.scenes.things import FRAME, Thing, View, place

RADII: Mapping[str, float] = MappingProxyType({"small": 0.56, "medium": 0.82, "large": 1.2})
MIN_OBJECTS, MAX_OBJECTS = 3, 5

HALF_WIDTH = 4.67  # scene units from the middle of the picture to its side
DISTANCE, ELEVATION, SIDE = 40.0, 54.0, 30.0  # the side cameras stand 30 degrees to the left and right of the centre


def _view(azimuth: float) -> View:
    fov = math.degrees(2 * math.atan(HALF_WIDTH / DISTANCE))
    return View(orbit(azimuth, ELEVATION, DISTANCE, (0.0, 0.0, 0.5), fov), (206, 206, 208), (168, 168, 172))


# What draws the final picture; the initial one is always drawn from the centre.
DOMAINS: Mapping[str, View] = MappingProxyType({"in": _view(0.0), "left": _view(-SIDE), "right": _view(SIDE)})
CENTRE = DOMAINS["in"]

# A move is a fixed step along one or both axes of the ground, as the central camera sees them: 29 pixels of 112
# sideways, 24 towards the front or the back.
STEP = 2.4
_ASIDE = {"left": (-1, 0), "right": (1, 0)}
_DEEP = {"front": (0, -1), "behind": (0, 1)}
DIRECTIONS: Mapping[str, tuple[int, int]] = MappingProxyType(
    _DEEP | _ASIDE | {f"{deep}_{aside}": (x, y) for deep, (_, y) in _DEEP.items() for aside, (x, _) in _ASIDE.items()}
)

MIN_GAP = 0.04  # between the places of two objects along a picture's x, so that left to right is never in doubt
CLEARANCE = 0.97  # silhouettes' bounding circles may overlap by 3 % of the sum of their radii
CANDIDATES = 32
ATTEMPTS = 60


def sample_scene(rng: np.random.Generator) -> tuple[Thing, ...] | None:
    """Draws attributes, then places. The objects come from left to right in the central view: an index is an id.

    None if no attempt finds room, as for five large ones.
    """
    count = int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1))
    choices = (len(SIZES), len(COLOURS), len(MATERIALS), len(SHAPES))
    names = tuple(COLOURS)
    kinds = [
        (SIZES[size], names[colour], MATERIALS[material], SHAPES[shape])
        for size, colour, material, shape in rng.integers(choices, size=(count, 4)).tolist()
    ]
    kinds.sort(key=lambda kind: -RADII[kind[0]])  # the big ones find room first, the small ones fit between them
    for _ in range(ATTEMPTS):
        things = _place(rng, kinds)
        if things is not None:
            return tuple(sorted(things, key=lambda thing: place(thing, CENTRE)[0]))
    return None


def stands_clear(things: tuple[Thing, ...]) -> bool:
    """Whether every camera sees every object whole and apart from the others."""
    spots, reaches = _outlines(np.array([thing.centre for thing in things]), np.array([_bound(t) for t in things]))
    pairs = np.triu_indices(len(things), 1)
    between = (spots[:, :, None] - spots[:, None])[:, pairs[0], pairs[1]]
    touching = CLEARANCE * (reaches[:, :, None] + reaches[:, None])[:, pairs[0], pairs[1]]
    return bool(_inside(spots, reaches).all() and _apart(between, touching).all())


def _place(rng: np.random.Generator, kinds: list[tuple[str, str, str, str]]) -> list[Thing] | None:
    spots, reaches, things = np.zeros((len(DOMAINS), 0, 2)), np.zeros((len(DOMAINS), 0)), []
    for kind in kinds:
        radius, shape = RADII[kind[0]], kind[3]
        # Uniform over a disc on the ground, which every camera that turns about its middle sees alike.
        away = (HALF_WIDTH - radius) * np.sqrt(rng.random(CANDIDATES))
        turn = 2 * np.pi * rng.random(CANDIDATES)
        height = np.full(CANDIDATES, centre_height(shape, radius))
        points = np.stack([away * np.cos(turn), away * np.sin(turn), height], axis=-1)
        spot, reach = _outlines(points, np.full(CANDIDATES, radius * SILHOUETTE[shape]))
        between = spot[:, :, None] - spots[:, None]  # [views, candidates, objects so far, 2]
        apart = _apart(between, CLEARANCE * (reach[:, :, None] + reaches[:, None]))
        good = np.flatnonzero(_inside(spot, reach).all(axis=0) & apart.all(axis=(0, 2)))
        if good.size == 0:
            return None
        first = int(good[0])
        spots, reaches = np.append(spots, spot[:, [first]], 1), np.append(reaches, reach[:, [first]], 1)
        x, y = points[first, :2].tolist()
        things.append(Thing(*kind, x, y, float(rng.uniform(0.0, 2 * np.pi)), radius))
    return things


def _bound(thing: Thing) -> float:
    return thing.radius * SILHOUETTE[thing.shape]


def _outlines(points: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Balls at float[n, 3] of radii float[n] in each view: centres float[views, n, 2] and radii float[views, n], as
    shares of the picture."""
    spots, depths = zip(*(project(view.camera, points, FRAME, FRAME) for view in DOMAINS.values()), strict=True)
    focal = CENTRE.camera.pixels_per_tangent(FRAME)  # the same for all
    return np.stack(spots), focal * radii / np.stack(depths)


def _inside(spots: np.ndarray, reaches: np.ndarray) -> np.ndarray:
    return np.all((spots >= reaches[..., None]) & (spots <= FRAME - reaches[..., None]), axis=-1)


def _apart(between: np.ndarray, touching: np.ndarray) -> np.ndarray:
    return (np.linalg.norm(between, axis=-1) >= touching) & (np.abs(between[..., 0]) >= MIN_GAP)
