"""Things on a ground plane, what sees them, and where each appears in the picture."""

from dataclasses import dataclass

import numpy as np

from rrft_jax.tasks.scenes.camera import Camera, project
from rrft_jax.tasks.scenes.shapes import centre_height

# Places are shares of a frame of this many units a side, so that a scene does not depend on the picture's size.
FRAME = 1.0


@dataclass(frozen=True)
class Thing:
    """One object: its four nameable attributes, its place on the ground, its turn about the vertical (radians) and its
    nominal radius; lengths in scene units."""

    size: str
    colour: str
    material: str
    shape: str
    x: float
    y: float
    angle: float
    radius: float

    @property
    def centre(self) -> tuple[float, float, float]:
        """The point whose projection is called the object's place in the picture."""
        return (self.x, self.y, centre_height(self.shape, self.radius))

    def attributes(self) -> tuple[str, str, str, str]:
        """(size, colour, material, shape), the order in which they are spoken."""
        return (self.size, self.colour, self.material, self.shape)


@dataclass(frozen=True)
class View:
    """What sees a scene: a camera, and the colours (0 to 255) of the ground at the picture's bottom and top."""

    camera: Camera
    near_ground: tuple[int, int, int]
    far_ground: tuple[int, int, int]


def place(thing: Thing, view: View) -> np.ndarray:
    """float[2]: the projection of the object's centre, as shares of the picture's width and height."""
    return project(view.camera, np.asarray(thing.centre), FRAME, FRAME)[0]


def name(thing: Thing) -> str:
    """The four attributes: "small red metal cube"."""
    return " ".join(thing.attributes())


def listing(things: tuple[Thing, ...]) -> str:
    """All objects in their order, without a question: the target of scene-listing pre-training."""
    return "Objects: " + ", ".join(name(thing) for thing in things) + "."
