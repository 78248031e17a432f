import numpy as np
import pytest

from pipeline.score.maps.picture import BAR, GAP, PANEL, overlay, picture

RING = 20


def test_overlay_leaves_cold_pixels_as_they_are():
    image = np.repeat(np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4, 1), 3, axis=2)
    warmth = np.zeros((4, 4), np.float32)
    warmth[0, 0] = 1
    mixed = overlay(image, warmth)
    np.testing.assert_array_equal(mixed[1:], image[1:])
    red, green, blue = mixed[0, 0]
    assert red > green > blue


@pytest.mark.parametrize(
    ("shape", "pixel", "size"),
    [
        ((100, 50), (1.0, 1.0), (240, 480)),  # enlarged
        ((3000, 1500), (1.0, 1.0), (512, 1024)),  # reduced
        ((600, 300), (1.0, 1.0), (300, 600)),  # as it is
        ((40, 100), (3.0, 1.0), (400, 480)),  # a pixel three times as high as wide
    ],
)
def test_the_image_keeps_its_true_proportions(shape, pixel, size):
    sheet = picture(np.zeros(shape, np.float32), np.zeros(shape, np.float32), (0, 1), pixel=pixel)
    assert sheet.size == (size[0] + PANEL, size[1])


def test_heat_and_ring_lie_where_the_peak_is():
    """On a grid of 10 x 20, the pixel at row 2, column 15 has its middle at (15.5, 2.5) / 20 * 480."""
    heat = np.zeros((10, 20), np.float32)
    heat[2, 15] = 1
    plain = np.asarray(picture(np.zeros_like(heat), heat, (0.0, 1.0))).astype(int)
    marked = np.asarray(picture(np.zeros_like(heat), heat, (0.0, 1.0), mark=(2, 15))).astype(int)
    at = np.unravel_index(plain[:, :480, 0].argmax(), (240, 480))
    np.testing.assert_allclose(at, (2.5 * 24, 15.5 * 24), atol=1)
    rows, columns = np.nonzero((marked != plain).any(axis=2))
    assert (rows.min() + rows.max()) / 2 == pytest.approx(60, abs=1.5)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(372, abs=1.5)
    assert columns.max() - columns.min() < 3 * RING


def test_the_bar_goes_from_orange_to_clear():
    sheet = np.asarray(picture(np.zeros((480, 480), np.float32), np.zeros((480, 480), np.float32), (2.0, 5.0)))
    bar = sheet[GAP + 2 : 200, 480 + GAP : 480 + GAP + BAR].astype(int)
    redness = (bar[..., 0] - bar[..., 2]).mean(axis=1)
    assert redness[0] > 100
    assert redness[-1] < 10
    assert (np.diff(redness) <= 1).all()


def test_a_flat_map_shows_the_image_alone():
    image = np.random.default_rng(0).random((480, 480)).astype(np.float32)
    sheet = np.asarray(picture(image, np.full((480, 480), 3.0, np.float32), (3.0, 3.0)))
    np.testing.assert_array_equal(sheet[:, :480, 1], (image * 255).round())
    assert not sheet[:, 480:].any()
