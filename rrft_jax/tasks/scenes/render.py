"""A small ray caster in numpy: camera and solids in, uint8[h, w, 3] out.

Each object is traced only inside its projected bounding box, with 2 x 2 rays a pixel, and laid over what stands
behind it with its coverage. Shadows fall on the ground only and are analytic (the footprint swept along the light),
so they need no rays. Lengths are scene units; arrays keep their components first so that every operation is contiguous.
"""

import math
from functools import lru_cache

import numpy as np

from rrft_jax.tasks.scenes.camera import Camera, rays
from rrft_jax.tasks.scenes.shapes import Solid, caster, solids, yaw
from rrft_jax.tasks.scenes.things import Thing, View

SAMPLES = 2  # rays a pixel, per axis
LIGHT = np.array([-0.46, -0.5, 0.73]) / np.linalg.norm([-0.46, -0.5, 0.73])
_TINY = np.float32(1e-12)  # keeps a ray parallel to a face from dividing by zero
SHADE = 0.42  # how much of the ground's light a shadow takes
GLASS_OPACITY = 0.35  # of a pane; its shadow is as much lighter
SOFT = 0.16  # width of a shadow's edge in scene units


def render(things: tuple[Thing, ...], view: View, height: int = 112, width: int = 112) -> np.ndarray:
    """The picture of objects, in any order, as uint8[height, width, 3]."""
    canvas = _ground(view, height, width)[0].copy()
    for thing in things:
        _cast_shadow(canvas, thing, view, height, width)
    for thing in far_to_near(things, view.camera):
        rows, columns, layer = object_layer(thing, view.camera, height, width)
        under = canvas[:, rows, columns]
        under *= 1.0 - layer[3]
        under += layer[:3]
    np.clip(canvas, 0.0, 255.0, out=canvas)
    return np.ascontiguousarray((canvas + 0.5).astype(np.uint8).transpose(1, 2, 0))


def far_to_near(things: tuple[Thing, ...], camera: Camera) -> list[Thing]:
    """Painter's order; exact for convex objects that stand apart on the ground."""
    forward = camera.basis()[2]
    return sorted(things, key=lambda thing: -(thing.x * forward[0] + thing.y * forward[1]))


def object_layer(thing: Thing, camera: Camera, height: int, width: int) -> tuple[slice, slice, np.ndarray]:
    """One object alone: rows and columns of its box, and float32[4, rows, columns]: colour times coverage, coverage.

    Coverage is the share of what stands behind that is hidden: less than 1 where the object is made of glass.
    """
    parts = solids(thing.shape, thing.radius, thing.x, thing.y, thing.angle, thing.colour, thing.material)
    boxes = [_box(camera, part.centre, _half_extents(part, camera), height, width) for part in parts]
    top, left = min(box[0].start for box in boxes), min(box[1].start for box in boxes)
    rows = slice(top, max(box[0].stop for box in boxes))
    columns = slice(left, max(box[1].stop for box in boxes))
    every_ray = _fine_rays(camera, height, width)
    layer = np.zeros((4, SAMPLES * (rows.stop - top), SAMPLES * (columns.stop - left)), np.float32)
    nearest = np.full(layer.shape[1:], np.inf, np.float32) if len(parts) > 1 else None
    for part, (part_rows, part_columns) in zip(parts, boxes, strict=True):
        window = every_ray[:, _times(part_rows, 0), _times(part_columns, 0)]
        directions = window.reshape(3, -1)
        hit, reach, normal, local = intersect(part, camera, directions)
        inside = (_times(part_rows, top), _times(part_columns, left))
        front = hit.reshape(window.shape[1:])
        if nearest is not None:
            front = front & (reach.reshape(front.shape) < nearest[inside])
            np.copyto(nearest[inside], reach.reshape(front.shape), where=front)
        colour, opacity = _shade(part, directions, normal, local)
        np.copyto(layer[:3, *inside], (colour * opacity).reshape(window.shape), where=front)
        np.copyto(layer[3, *inside], np.broadcast_to(opacity, front.size).reshape(front.shape), where=front)
    layer = layer[:, 0::2] + layer[:, 1::2]
    return rows, columns, (layer[:, :, 0::2] + layer[:, :, 1::2]) / SAMPLES**2


def _times(pixels: slice, origin: int) -> slice:
    """The rays of a run of pixels, counted from the first ray of pixel `origin`."""
    return slice(SAMPLES * (pixels.start - origin), SAMPLES * (pixels.stop - origin))


def intersect(solid: Solid, camera: Camera, directions: np.ndarray) -> tuple[np.ndarray, ...]:
    """Where rays from the camera enter a solid.

    directions: float32[3, N]. Returns bool[N] whether the ray hits, float32[N] how far along the ray, float32[3, N]
    the unit normal in the world, float32[3, N] the point in the solid's own unit frame; the last three are without
    meaning where nothing is hit (computing them everywhere is cheaper than gathering).
    """
    inverse = (solid.frame / np.square(solid.frame).sum(axis=0)).T  # the frame's columns are orthogonal
    o = (inverse @ (np.asarray(camera.position) - solid.centre)).astype(np.float32)[:, None]
    inverse = inverse.astype(np.float32)
    d = inverse @ directions
    enter, leave = {"box": _box_span, "ball": _ball_span, "cylinder": _cylinder_span}[solid.kind](o, d)
    local = o + enter * d
    if solid.kind == "ball":
        unit = local
    elif solid.kind == "box":
        size = np.abs(local)
        unit = np.sign(local) * (size == size.max(axis=0))
    else:
        side = np.abs(local[2]) < 1.0 - 1e-3
        unit = np.stack([local[0] * side, local[1] * side, np.sign(local[2]) * ~side])
    normal = inverse.T @ unit
    normal /= np.sqrt(np.einsum("ij,ij->j", normal, normal)) + np.float32(1e-12)
    return (enter < leave) & (enter > 0), enter, normal, local


def _box_span(o: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inverse = 1.0 / (d + _TINY)
    a, b = (-1.0 - o) * inverse, (1.0 - o) * inverse
    return np.minimum(a, b).max(axis=0), np.maximum(a, b).min(axis=0)


def _ball_span(o: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _quadratic(np.einsum("ij,ij->j", d, d), (o * d).sum(axis=0), float((o * o).sum()) - 1.0)


def _cylinder_span(o: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = _quadratic(d[0] ** 2 + d[1] ** 2 + 1e-12, o[0] * d[0] + o[1] * d[1], float((o[:2] ** 2).sum()) - 1.0)
    inverse = 1.0 / (d[2] + _TINY)
    a, b = (-1.0 - o[2]) * inverse, (1.0 - o[2]) * inverse
    return np.maximum(low, np.minimum(a, b)), np.minimum(high, np.maximum(a, b))


def _quadratic(a: np.ndarray, b: np.ndarray, c: float) -> tuple[np.ndarray, np.ndarray]:
    """Both roots of a t^2 + 2 b t + c = 0; an empty span where there are none."""
    square = b * b - a * c
    root = np.sqrt(np.maximum(square, 0.0))
    root = np.where(square > 0, root, np.float32(-1.0))
    return (-b - root) / a, (-b + root) / a


def _shade(
    solid: Solid, directions: np.ndarray, normal: np.ndarray, local: np.ndarray
) -> tuple[np.ndarray, np.ndarray | float]:
    """float32[3, N] light towards the camera and the opacity, float32[N] or 1.

    Rubber is matte; metal mirrors bright sky, dark ground and the lamp; glass is a coloured outline around a pane that
    one sees through.
    """
    base = np.asarray(solid.colour, np.float32)[:, None]
    light = LIGHT.astype(np.float32)
    diffuse = np.maximum(light @ normal, 0.0)
    if solid.material == "rubber":
        return base * (0.42 + 0.1 * normal[2] + 0.58 * diffuse), 1.0
    facing = np.einsum("ij,ij->j", directions, normal)
    mirror = directions - 2.0 * facing * normal
    gleam = np.maximum(light @ mirror, 0.0) ** 2
    gleam = (gleam * gleam) ** 2 * gleam * (gleam * gleam)  # to the 14th; a general power is slow
    if solid.material == "glass":
        edge = _edge(solid, directions, normal, local)
        return base * (1.0 - 0.15 * edge) + 160.0 * gleam, np.minimum(GLASS_OPACITY + edge + gleam, 1.0)
    sky = np.clip(0.5 + 1.3 * mirror[2], 0.0, 1.0)
    # Flat faces mirror a single direction; a slanted streak across them is what tells polished from matte.
    streak = np.exp(-(((local[0] + local[1] + 1.3 * local[2] - 0.5) * 2.6) ** 2)) if solid.kind != "ball" else 0.0
    return base * (0.26 + 0.32 * diffuse + 0.45 * sky) + 225.0 * gleam + 120.0 * streak, 1.0


def _edge(solid: Solid, directions: np.ndarray, normal: np.ndarray, local: np.ndarray) -> np.ndarray:
    """float32[N] from 0 in the middle of a face to 1 at its edge or, for round sides, at the silhouette.

    A cylinder stands upright.
    """
    size = np.abs(local)
    if solid.kind == "box":
        near = np.median(size, axis=0)  # the largest is 1 on the face; the next says how far its nearest edge is
    elif solid.kind == "cylinder":
        across = np.sqrt(local[0] ** 2 + local[1] ** 2)
        sideways = np.abs(normal[0] * directions[1] - normal[1] * directions[0])
        sideways /= np.sqrt(directions[0] ** 2 + directions[1] ** 2)
        near = np.where(size[2] < 1.0 - 1e-3, np.maximum(size[2], sideways), across)
    else:
        near = np.sqrt(np.maximum(1.0 - np.einsum("ij,ij->j", directions, normal) ** 2, 0.0))
    return np.clip((near - 0.7) / 0.2, 0.0, 1.0)


def _cast_shadow(canvas: np.ndarray, thing: Thing, view: View, height: int, width: int) -> None:
    shape, radius = caster(thing.shape), thing.radius
    sweep = -LIGHT[:2] / LIGHT[2] * shape.height * radius
    sx, sy = sweep.tolist()  # plain floats: a float64 scalar would turn every array below into float64
    lx, ly, lz = LIGHT.tolist()
    extent = radius * math.hypot(shape.half_length, shape.half_width) + SOFT
    axes = view.camera.basis()
    half = np.abs(axes[:, 0]) * (abs(sx) / 2 + extent) + np.abs(axes[:, 1]) * (abs(sy) / 2 + extent)
    rows, columns = _box(view.camera, np.array([thing.x + sx / 2, thing.y + sy / 2, 0.0]), half, height, width)
    ground = _ground(view, height, width)[1][:, rows, columns]
    x, y = ground[0] - np.float32(thing.x), ground[1] - np.float32(thing.y)
    if shape.kind == "ball":
        # Distance from the ball's centre to the line from the ground point to the lamp.
        along = x * lx + y * ly - radius * lz
        outside = np.sqrt(np.maximum(x * x + y * y + radius**2 - along * along, 0.0)) - radius
    elif shape.kind == "disc":
        share = np.clip((x * sx + y * sy) / (sx * sx + sy * sy), 0.0, 1.0)
        outside = np.sqrt((x - share * sx) ** 2 + (y - share * sy) ** 2) - shape.half_length * radius
    else:
        # A rectangle swept along a vector is a hexagon: the intersection of three strips.
        axes = yaw(thing.angle)[:2, :2]
        half = radius * np.array([shape.half_length, shape.half_width])
        across = np.array([-sweep[1], sweep[0]]) / np.hypot(*sweep)
        outside = np.full(x.shape, -np.inf, np.float32)
        for normal in (axes[:, 0], axes[:, 1], across):
            reach, drift = float(np.abs(normal @ axes) @ half), float(0.5 * (normal @ sweep))
            nx, ny = normal.tolist()
            strip = np.abs(nx * x + ny * y - drift) - (reach + abs(drift))
            np.maximum(outside, strip, out=outside)
    shade = SHADE * (GLASS_OPACITY if thing.material == "glass" else 1.0)
    canvas[:, rows, columns] *= 1.0 - shade * np.clip(0.5 - outside / SOFT, 0.0, 1.0)


def _half_extents(solid: Solid, camera: Camera) -> np.ndarray:
    """float[3]: how far a solid reaches from its centre to the camera's right, up and forward."""
    reach = camera.basis() @ solid.frame
    if solid.kind == "box":
        return np.abs(reach).sum(axis=1)
    if solid.kind == "ball":
        return np.sqrt(np.square(reach).sum(axis=1))
    return np.sqrt(np.square(reach[:, :2]).sum(axis=1)) + np.abs(reach[:, 2])


def _box(camera: Camera, centre: np.ndarray, half: np.ndarray, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a pixel rectangle that covers a camera-aligned box in space, cut to the picture."""
    x, y, depth = (camera.basis() @ (centre - np.asarray(camera.position))).tolist()
    right, up, forward = half.tolist()
    focal = camera.pixels_per_tangent(height)
    near, far = focal / (depth - forward), focal / (depth + forward)
    columns = _run(x - right, x + right, near, far, width)
    return _run(-y - up, -y + up, near, far, height), columns


def _run(low: float, high: float, near: float, far: float, length: int) -> slice:
    first = math.floor(length / 2 + low * (near if low < 0 else far))
    last = math.ceil(length / 2 + high * (near if high > 0 else far))
    return slice(min(max(first, 0), length), min(max(last, 0), length))


@lru_cache(maxsize=8)
def _fine_rays(camera: Camera, height: int, width: int) -> np.ndarray:
    """float32[3, 2h, 2w] unit directions, SAMPLES x SAMPLES to a pixel."""
    y, x = np.meshgrid(np.arange(SAMPLES * height), np.arange(SAMPLES * width), indexing="ij")
    pixels = (np.stack([x, y], axis=-1) + 0.5) / SAMPLES
    return np.ascontiguousarray(rays(camera, pixels, height, width).transpose(2, 0, 1), np.float32)


@lru_cache(maxsize=8)
def _ground(view: View, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """float32[3, h, w] colour of the empty ground and float32[2, h, w] its world x and y under each pixel."""
    y, x = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    directions = rays(view.camera, np.stack([x, y], axis=-1), height, width)
    reach = -view.camera.position[2] / directions[..., 2]
    points = np.asarray(view.camera.position) + reach[..., None] * directions
    blend = (y / height)[..., None]
    colour = blend * np.asarray(view.near_ground) + (1 - blend) * np.asarray(view.far_ground)
    colour = colour * (1.06 - 0.16 * ((x / width - 0.35) ** 2 + (y / height - 0.5) ** 2))[..., None]
    return (
        np.ascontiguousarray(colour.transpose(2, 0, 1), np.float32),
        np.ascontiguousarray(points[..., :2].transpose(2, 0, 1), np.float32),
    )
