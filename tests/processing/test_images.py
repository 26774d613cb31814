"""Patches against pixels cut out of the image by hand, and the forms an image may have."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rrft_jax.data.decoding import image_size, open_image
from rrft_jax.data.pictures import BytesPicture
from rrft_jax.processing.images import image_grid, image_patches, resized, shrunk, video_patches
from rrft_jax.processing.positions import patch_positions

MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])


def pixels(seed, height=56, width=84, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def cut(image, row, column):
    """Patch (row, column) of a uint8[h, w, 3] image, normalised: float[3, 14, 14]."""
    patch = image[14 * row : 14 * row + 14, 14 * column : 14 * column + 14] / 255
    return ((patch - MEAN) / STD).transpose(2, 0, 1)


def test_patches_are_the_pixels_at_their_positions(qwen):
    image = pixels(0)  # 56x84 needs no resizing
    patches, grid = image_patches(qwen.image_processor, image)
    assert grid == (1, 4, 6) and patches.shape == (24, 1176) and patches.dtype == np.float32
    for patch, (row, column) in zip(patches.reshape(24, 3, 2, 14, 14), patch_positions(4, 6, 2), strict=True):
        for frame in range(2):  # a still image fills both frames of the pair
            np.testing.assert_allclose(patch[:, frame], cut(image, row, column), atol=1e-5)


def test_video_pairs_frames_and_repeats_an_odd_last_one(qwen):
    frames = [pixels(seed) for seed in range(3)]
    patches, grid = video_patches(qwen.image_processor, frames)
    assert grid == (2, 4, 6) and patches.shape == (48, 1176) and patches.dtype == np.float32
    slots = patches.reshape(2, 24, 3, 2, 14, 14)
    for slot, pair in enumerate(((0, 1), (2, 2))):
        for k, (row, column) in enumerate(patch_positions(4, 6, 2)):
            for frame in range(2):
                np.testing.assert_allclose(slots[slot, k, :, frame], cut(frames[pair[frame]], row, column), atol=1e-5)


def test_video_of_one_still_is_the_image(qwen):
    video, _ = video_patches(qwen.image_processor, [pixels(3)] * 2)
    image, _ = image_patches(qwen.image_processor, pixels(3))
    np.testing.assert_array_equal(video, image)


def test_forms_of_one_image_agree(qwen, tmp_path):
    array = pixels(1)
    Image.fromarray(array).save(tmp_path / "a.png")
    forms = [array, Image.fromarray(array), tmp_path / "a.png", str(tmp_path / "a.png")]
    first, *others = [image_patches(qwen.image_processor, form)[0] for form in forms]
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_small_arrays_are_never_taken_for_channels_first(qwen):
    # Three rows: a shape-guessing reader would take the rows for channels.
    _, grid = image_patches(qwen.image_processor, pixels(2, height=3, width=40))
    assert grid[1] < grid[2]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1"])
def test_other_modes_become_rgb(qwen, mode):
    patches, grid = image_patches(qwen.image_processor, Image.fromarray(pixels(4)).convert(mode))
    assert grid == (1, 4, 6) and patches.shape == (24, 1176) and np.isfinite(patches).all()


def test_transparency_becomes_white(qwen):
    clear, _ = image_patches(qwen.image_processor, Image.new("RGBA", (56, 56), (0, 0, 0, 0)))
    white, _ = image_patches(qwen.image_processor, Image.new("RGB", (56, 56), "white"))
    np.testing.assert_array_equal(clear, white)


def test_file_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to view
    Image.fromarray(pixels(5)).save(tmp_path / "a.png", exif=exif)
    assert open_image(tmp_path / "a.png").size == (56, 84)
    stored = BytesPicture((tmp_path / "a.png").read_bytes(), "stored")
    assert open_image(stored).tobytes() == open_image(tmp_path / "a.png").tobytes()


def test_sixteen_bits_of_gray_have_the_patches_of_eight(qwen, tmp_path):
    gray = pixels(6)[..., 0]
    Image.fromarray(gray).save(tmp_path / "8.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "16.png")
    of_eight, of_sixteen = (image_patches(qwen.image_processor, tmp_path / f"{bits}.png")[0] for bits in (8, 16))
    np.testing.assert_array_equal(of_eight, of_sixteen)


def test_what_pil_refuses_by_errors_of_its_own_is_named(tmp_path, monkeypatch):
    """A damaged part of a PNG is a SyntaxError of PIL's, a picture too large an error without a common base."""
    Image.fromarray(pixels(0, 200, 200)).save(tmp_path / "torn.png")
    data = (tmp_path / "torn.png").read_bytes()
    second = data.index(b"IDAT", data.index(b"IDAT") + 4)
    (tmp_path / "torn.png").write_bytes(data[:second] + b"\0\1\2\3" + data[second + 4 :])
    with pytest.raises(OSError, match="torn.png: cannot be read as an image .*broken PNG file.*replace the file"):
        open_image(tmp_path / "torn.png")
    Image.fromarray(pixels(0)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(OSError, match="large.png: cannot be read as an image .*4704 pixels.*exceeds"):
        open_image(tmp_path / "large.png")
    with pytest.raises(OSError, match="4704 pixels.*exceeds"):
        image_size(tmp_path / "large.png")


def test_unusable_images_are_named(qwen, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(OSError, match="broken.png: cannot be read as an image"):
        open_image(tmp_path / "broken.png")
    with pytest.raises(FileNotFoundError, match="missing.png: no such image file"):
        open_image(tmp_path / "missing.png")
    with pytest.raises(ValueError, match=r"float64\[2, 2, 3\]"):
        open_image(np.zeros((2, 2, 3)))
    with pytest.raises(TypeError, match="not int"):
        open_image(3)
    with pytest.raises(OSError, match="cell 7: cannot be read as an image"):
        open_image(BytesPicture(b"no image", "cell 7"))
    with pytest.raises(ValueError, match="image of 1x300 pixels cannot be resized"):
        image_patches(qwen.image_processor, pixels(6, height=1, width=300))
    with pytest.raises(ValueError, match="frames of one size"):
        video_patches(qwen.image_processor, [pixels(0), pixels(0, height=28)])
    with pytest.raises(ValueError, match="one or more frames"):
        video_patches(qwen.image_processor, [])


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 400), st.integers(1, 400))
def test_grid_is_known_before_the_pixels(nano, height, width):
    if max(height, width) > 200 * min(height, width):
        return
    grid = image_grid(nano.image_processor, height, width)
    _, h, w = grid
    assert h % 2 == w % 2 == 0 and h > 0 and w > 0
    if max(height, width) < 20 * min(height, width):  # a long strip cannot be both 28 wide and small
        assert nano.min_pixels <= h * w * 196 <= nano.max_pixels
    patches, actual = image_patches(nano.image_processor, np.zeros((height, width, 3), np.uint8))
    assert actual == grid and len(patches) == h * w


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from((28, 32, 36)), st.sampled_from((3136, 10**6)))
def test_resizing_is_that_of_transformers(height, width, side, most):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    if max(height, width) <= 200 * min(height, width):
        assert resized(height, width, side, 3136, most) == smart_resize(height, width, side, 3136, most)


def test_a_larger_image_may_first_be_reduced_by_nearest_neighbours(qwen):
    """LLaMA-Factory's order of things: 640x480 pixels become 591x443 (an area of 512 * 512), and then 588x448."""
    assert shrunk(480, 640, 512 * 512) == (443, 591) and shrunk(480, 320, 512 * 512) == (480, 320)
    assert shrunk(480, 640, 0) == (480, 640)
    rng = np.random.default_rng(0)
    images, small = qwen.image_processor, 112 * 112
    picture = Image.fromarray(rng.integers(0, 256, (120, 160, 3), dtype=np.uint8))
    height, width = shrunk(120, 160, small)
    patches, grid = image_patches(images, picture, small)
    # The pixel whose centre is the nearest, for both axes.
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in ((height, 120), (width, 160)))
    by_hand = np.asarray(picture)[rows][:, columns]
    expected, expected_grid = image_patches(images, by_hand)
    assert grid == expected_grid == image_grid(images, 120, 160, small)
    np.testing.assert_array_equal(patches, expected)
    assert not np.array_equal(patches, image_patches(images, picture.resize((width, height)))[0])
    np.testing.assert_array_equal(image_patches(images, by_hand, small)[0], expected)
