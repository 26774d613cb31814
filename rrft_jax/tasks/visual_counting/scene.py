"""Scenes: a few objects on a ground plane that a camera sees one by one, drawn from a random generator."""

from dataclasses import dataclass

import numpy as np

from rrft_jax.tasks.scenes.camera import on_plane, orbit
from rrft_jax.tasks.scenes.shapes import COLOURS, SHAPES, SILHOUETTE, VEHICLES, centre_height
from rrft_jax.tasks.scenes.things import FRAME, Thing, View, place

SIZES = ("small", "large")
MATERIALS = ("rubber", "metal")


@dataclass(frozen=True)
class Domain:
    """What differs between the training scenes and their out-of-domain twin."""

    name: str
    shapes: tuple[str, ...]
    radii: tuple[float, ...]  # of each of SIZES, in scene units
    view: View
    min_objects: int
    max_objects: int
    palette: tuple[int, int]  # fewest and most colours in one scene
    turns: tuple[float, float]  # range of an object's turn in radians; 0 heads along +x


@dataclass(frozen=True)
class Scene:
    """Things in reading order: left to right by the projection of their centres."""

    things: tuple[Thing, ...]
    domain: Domain


IN = Domain(
    name="in",
    shapes=SHAPES,
    radii=(0.56, 1.0),
    view=View(
        camera=orbit(azimuth=0.0, elevation=46.0, distance=30.0, target=(0.0, 0.0, 0.5), fov=16.6),
        near_ground=(206, 206, 208),
        far_ground=(168, 168, 172),
    ),
    min_objects=3,
    max_objects=8,
    palette=(3, 5),
    turns=(0.0, 2 * np.pi),
)
OUT = Domain(
    name="out",
    shapes=VEHICLES,
    radii=(0.66, 1.12),
    view=View(
        camera=orbit(azimuth=14.0, elevation=40.0, distance=30.0, target=(0.0, 0.0, 0.4), fov=17.6),
        near_ground=(178, 186, 168),
        far_ground=(150, 166, 190),
    ),
    min_objects=3,
    max_objects=7,
    palette=(2, 4),
    # Seen from behind, a truck and a bus are both a box: vehicles head sideways or towards the camera.
    turns=(-np.pi - 0.2, 0.2),
)
DOMAINS = {"in": IN, "out": OUT}

MIN_GAP = 0.036  # between the places of two objects along the picture's x, so that left to right is never in doubt
CLEARANCE = 0.94  # silhouettes' bounding circles may overlap by 6 % of the sum of their radii
CANDIDATES = 24
ATTEMPTS = 400


def sample_scene(rng: np.random.Generator, domain: Domain) -> Scene:
    """Draws attributes, then places; a crowd without room is placed anew. Raises RuntimeError if none fits."""
    count = int(rng.integers(domain.min_objects, domain.max_objects + 1))
    names = tuple(COLOURS)
    palette = rng.permutation(len(names))[: int(rng.integers(domain.palette[0], domain.palette[1] + 1))]
    choices = (len(SIZES), len(palette), len(MATERIALS), len(domain.shapes))
    kinds = [
        (SIZES[size], names[palette[colour]], MATERIALS[material], domain.shapes[shape])
        for size, colour, material, shape in rng.integers(choices, size=(count, 4)).tolist()
    ]
    # The big ones first: they find room, and the small ones fit between them.
    kinds.sort(key=lambda kind: -SIZES.index(kind[0]))
    for _ in range(ATTEMPTS):
        things = _place(rng, domain, kinds)
        if things is not None:
            return Scene(tuple(sorted(things, key=lambda thing: place(thing, domain.view)[0])), domain)
    raise RuntimeError(f"no room for {count} objects in the {domain.name}-domain frame after {ATTEMPTS} attempts")


def _place(rng: np.random.Generator, domain: Domain, kinds: list[tuple[str, str, str, str]]) -> list[Thing] | None:
    camera = domain.view.camera
    focal = camera.pixels_per_tangent(FRAME)
    forward, eye = camera.basis()[2], np.asarray(camera.position)
    spots, reaches, things = np.zeros((0, 2)), np.zeros(0), []
    for size, colour, material, shape in kinds:
        nominal = domain.radii[SIZES.index(size)]
        radius = nominal * SILHOUETTE[shape]
        # Points in the picture are uniform, so that objects spread over all of it whatever the perspective does.
        margin = 1.04 * focal * radius / np.linalg.norm(np.subtract(camera.target, eye))
        spot = rng.uniform(margin, FRAME - margin, size=(CANDIDATES, 2))
        point = on_plane(camera, spot, centre_height(shape, nominal), FRAME, FRAME)
        reach = focal * radius / ((point - eye) @ forward)
        apart = np.linalg.norm(spot[:, None] - spots, axis=-1) >= CLEARANCE * (reach[:, None] + reaches)
        gap = np.abs(spot[:, None, 0] - spots[:, 0]) >= MIN_GAP
        inside = np.all((spot >= reach[:, None]) & (spot <= FRAME - reach[:, None]), axis=1)
        good = np.flatnonzero(np.all(apart & gap, axis=1) & inside)
        if good.size == 0:
            return None
        first = int(good[0])
        spots, reaches = np.vstack([spots, spot[first]]), np.append(reaches, reach[first])
        angle = float(rng.uniform(*domain.turns))
        x, y = point[first, :2].tolist()
        things.append(Thing(size, colour, material, shape, x, y, angle, nominal))
    return things
