"""The pinhole camera against hand-worked projections."""

import numpy as np
import pytest

from rrft_jax.tasks.scenes.camera import Camera, on_plane, orbit, project, rays

# 10 units in front of the origin, 90 degrees of view: at that depth one unit is a twentieth of the picture's height.
AHEAD = Camera((0.0, -10.0, 0.0), (0.0, 0.0, 0.0), 90.0)


def test_hand_worked_projection():
    pixels, depth = project(AHEAD, np.array([[0.0, 0, 0], [1.0, 0, 0], [0, 0, 1.0], [0, 10.0, 1.0]]), 100, 200)
    np.testing.assert_allclose(pixels, [[100, 50], [105, 50], [100, 45], [100, 47.5]])
    np.testing.assert_allclose(depth, [10, 10, 10, 20])


def test_rays_invert_projection():
    points = np.random.default_rng(0).uniform(-3, 3, (50, 3))
    camera = orbit(33.0, 40.0, 12.0, (0.2, -0.1, 0.5), 30.0)
    pixels, _ = project(camera, points, 84, 112)
    towards = points - camera.position
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    np.testing.assert_allclose(rays(camera, pixels, 84, 112), towards, atol=1e-12)
    on_ground = on_plane(camera, pixels, 0.7, 84, 112)
    np.testing.assert_allclose(on_ground[:, 2], 0.7)
    np.testing.assert_allclose(project(camera, on_ground, 84, 112)[0], pixels)


@pytest.mark.parametrize(("azimuth", "sides"), [(0.0, (1, 0)), (90.0, (0, 1)), (180.0, (-1, 0)), (-90.0, (0, -1))])
def test_orbit_gives_true_left_and_right_views(azimuth, sides):
    """From the right-hand camera what was far is now on the right, and so on round the circle."""
    pixels, _ = project(orbit(azimuth, 30.0, 10.0), np.array([[1.0, 0, 0], [0, 1.0, 0]]), 100, 100)
    assert tuple(np.sign(np.round(pixels[:, 0] - 50, 9))) == sides


def test_vertical_view_is_refused():
    with pytest.raises(ValueError, match="straight up or down"):
        Camera((0.0, 0.0, 5.0), (0.0, 0.0, 0.0), 40.0).basis()
