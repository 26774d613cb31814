"""What an object is made of: each shape name as a few unit solids with an affine frame.

In-domain shapes are one solid each. Out-of-domain shapes are vehicles built from several; none of them is a
lone cube, sphere or cylinder, and no vehicle name occurs in training.
All sizes are given for an object of radius 1 and scaled by the object's radius.
"""

from dataclasses import dataclass

import numpy as np

COLOURS = {
    "gray": (92, 92, 94),
    "red": (196, 30, 34),
    "blue": (38, 72, 220),
    "green": (26, 138, 34),
    "brown": (132, 78, 28),
    "purple": (138, 42, 196),
    "cyan": (36, 206, 208),
    "yellow": (255, 228, 40),
}
MATERIALS = ("rubber", "metal", "glass")
SIZES = ("small", "medium", "large")
SHAPES = ("cube", "sphere", "cylinder")
VEHICLES = ("car", "truck", "bus", "airplane", "motorbike")

TYRE = (30, 30, 34)
WINDOW = (196, 222, 240)

# Per shape, the radius of the silhouette's bounding circle as a share of the object's radius.
SILHOUETTE = {"cube": 1.18, "sphere": 1.0, "cylinder": 1.12} | dict.fromkeys(VEHICLES, 1.18)


@dataclass(frozen=True)
class Solid:
    """A unit box [-1, 1]^3, unit ball or unit cylinder (axis z) placed by an affine frame.

    centre: float[3] in scene units. frame: float[3, 3] whose columns are orthogonal local axes times half extents.
    colour: red, green, blue from 0 to 255.
    """

    kind: str
    centre: np.ndarray
    frame: np.ndarray
    colour: tuple[int, int, int]
    material: str


@dataclass(frozen=True)
class Caster:
    """What throws the shadow: an upright box or disc footprint of some height, or a ball."""

    kind: str
    half_length: float
    half_width: float
    height: float


def yaw(angle: float) -> np.ndarray:
    """float[3, 3] rotation about the vertical by `angle` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


# Wheels lie on their side: the cylinder's axis points along local y.
WHEEL = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]])

# Per shape: (kind, centre, half extents, paint). Paint None is the object's own colour.
_BODY = {
    "cube": (("box", (0, 0, 0.78), (0.78, 0.78, 0.78), None),),
    "sphere": (("ball", (0, 0, 1.0), (1.0, 1.0, 1.0), None),),
    "cylinder": (("cylinder", (0, 0, 0.82), (0.8, 0.8, 0.82), None),),
    "car": (
        ("box", (0, 0, 0.42), (1.1, 0.52, 0.24), None),
        ("box", (-0.08, 0, 0.86), (0.56, 0.46, 0.22), WINDOW),
        ("box", (-0.08, 0, 1.1), (0.5, 0.44, 0.05), None),
        *(("wheel", (x, y, 0.26), (0.26, 0.26, 0.1), TYRE) for x in (-0.68, 0.68) for y in (-0.5, 0.5)),
    ),
    "truck": (
        ("box", (-0.35, 0, 0.86), (0.78, 0.56, 0.6), None),
        ("box", (0.8, 0, 0.58), (0.3, 0.52, 0.36), WINDOW),
        ("box", (0.8, 0, 0.36), (0.32, 0.54, 0.16), None),
        *(("wheel", (x, y, 0.26), (0.26, 0.26, 0.1), TYRE) for x in (-0.7, 0.0, 0.75) for y in (-0.54, 0.54)),
    ),
    "bus": (
        ("box", (0, 0, 0.5), (1.15, 0.5, 0.3), None),
        ("box", (0, 0, 0.95), (1.13, 0.48, 0.17), WINDOW),
        ("box", (0, 0, 1.2), (1.15, 0.5, 0.1), None),
        *(("wheel", (x, y, 0.24), (0.24, 0.24, 0.1), TYRE) for x in (-0.75, 0.75) for y in (-0.48, 0.48)),
    ),
    "airplane": (
        ("ball", (0, 0, 0.7), (1.2, 0.27, 0.27), None),
        ("box", (0.08, 0, 0.7), (0.26, 1.15, 0.06), None),
        ("box", (-1.0, 0, 0.78), (0.14, 0.45, 0.05), None),
        ("box", (-1.0, 0, 1.05), (0.16, 0.05, 0.34), None),
    ),
    "motorbike": (
        ("wheel", (-0.76, 0, 0.38), (0.38, 0.38, 0.13), TYRE),
        ("wheel", (0.76, 0, 0.38), (0.38, 0.38, 0.13), TYRE),
        ("box", (-0.05, 0, 0.66), (0.62, 0.2, 0.24), None),
        ("ball", (0.12, 0, 0.98), (0.44, 0.27, 0.24), None),
        ("box", (0.6, 0, 1.12), (0.07, 0.46, 0.07), TYRE),
    ),
}
_CASTER = {
    "cube": Caster("box", 0.78, 0.78, 1.56),
    "sphere": Caster("ball", 1.0, 1.0, 2.0),
    "cylinder": Caster("disc", 0.8, 0.8, 1.64),
    "car": Caster("box", 1.1, 0.52, 0.8),
    "truck": Caster("box", 1.12, 0.56, 1.3),
    "bus": Caster("box", 1.15, 0.5, 1.3),
    "airplane": Caster("box", 1.0, 0.3, 0.8),
    "motorbike": Caster("box", 1.05, 0.16, 0.9),
}


def centre_height(shape: str, radius: float) -> float:
    """Height of the middle of an object of that radius above the ground in scene units."""
    return radius * (0.65 if shape in VEHICLES else 0.82)


def solids(shape: str, radius: float, x: float, y: float, angle: float, colour: str, material: str) -> list[Solid]:
    """The solids of one object that stands on the ground at (x, y), turned by `angle` radians.

    Painted parts (tyres, windows) are matte whatever the object is made of.
    """
    turn, base, parts = yaw(angle), np.array([x, y, 0.0]), []
    for kind, centre, half, paint in _BODY[shape]:
        local = WHEEL * np.asarray(half)[None, :] if kind == "wheel" else np.diag(half)
        parts.append(
            Solid(
                kind="cylinder" if kind == "wheel" else kind,
                centre=base + radius * (turn @ np.asarray(centre, float)),
                frame=radius * (turn @ local),
                colour=COLOURS[colour] if paint is None else paint,
                material=material if paint is None else "rubber",
            )
        )
    return parts


def caster(shape: str) -> Caster:
    """The shadow caster of a shape of radius 1."""
    return _CASTER[shape]
