"""A pinhole camera as an explicit value: rays out of it, projection into it.

World: right-handed, z up, the ground is z = 0; lengths are scene units (a large sphere has radius 1).
Pixels: x to the right, y down, the centre of the top left pixel is (0.5, 0.5).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Camera:
    """Where the camera stands, the point it looks at (not vertically), its vertical field of view in degrees."""

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    fov: float

    def basis(self) -> np.ndarray:
        """float64[3, 3]: the unit vectors right, up and forward as rows."""
        return _basis(self.position, self.target)

    def pixels_per_tangent(self, height: float) -> float:
        """Focal length in pixels for an image of that height."""
        return 0.5 * height / np.tan(np.radians(self.fov) / 2)


@lru_cache(maxsize=64)
def _basis(position: tuple[float, float, float], target: tuple[float, float, float]) -> np.ndarray:
    forward = np.subtract(target, position)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    if np.linalg.norm(right) < 1e-9:
        raise ValueError(f"camera at {position} looks straight up or down at {target}: move one of them sideways")
    right = right / np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, forward), forward])
    axes.flags.writeable = False  # shared by all callers
    return axes


def orbit(
    azimuth: float,
    elevation: float,
    distance: float,
    target: tuple[float, float, float] = (0.0, 0.0, 0.0),
    fov: float = 20.0,
) -> Camera:
    """A camera on a sphere around `target`; azimuth 0 looks along +y, positive moves it to the right (degrees)."""
    a, e = np.radians(azimuth), np.radians(elevation)
    offset = distance * np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
    return Camera(tuple((np.asarray(target) + offset).tolist()), target, fov)


def project(camera: Camera, points: np.ndarray, height: float, width: float) -> tuple[np.ndarray, np.ndarray]:
    """float[..., 3] world points to (float[..., 2] pixel x and y, float[...] depth along the viewing axis)."""
    seen = (np.asarray(points) - camera.position) @ camera.basis().T
    depth = seen[..., 2]
    focal = camera.pixels_per_tangent(height)
    return np.array([width / 2, height / 2]) + focal / depth[..., None] * seen[..., :2] * (1.0, -1.0), depth


def rays(camera: Camera, pixels: np.ndarray, height: float, width: float) -> np.ndarray:
    """float[..., 2] pixel positions to float64[..., 3] unit directions in the world."""
    pixels = np.asarray(pixels, np.float64)
    focal = camera.pixels_per_tangent(height)
    x = (pixels[..., 0] - width / 2) / focal
    y = (height / 2 - pixels[..., 1]) / focal
    directions = np.stack([x, y, np.ones_like(x)], axis=-1) @ camera.basis()
    return directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def on_plane(camera: Camera, pixels: np.ndarray, z: float | np.ndarray, height: float, width: float) -> np.ndarray:
    """float64[..., 3]: where the rays through the pixels meet the horizontal plane of that height."""
    directions = rays(camera, pixels, height, width)
    reach = (z - camera.position[2]) / directions[..., 2]
    return np.asarray(camera.position) + reach[..., None] * directions
