import base64
import io

import numpy as np
from PIL import Image

from pipeline.gallery.picture import MOST_SLICES, ONE_SIDE, SLICE_SIDE, draw
from pipeline.score.maps.picture import HOT, OPAQUE


def opened(address):
    head, _, body = address.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))), np.float32)


def ramp(slices=1, side=64, channels=1):
    levels = np.linspace(0, 65535, side).astype(np.uint16)
    return np.broadcast_to(levels, (slices, channels, side, side)).copy()


def test_grey_levels_are_those_of_the_sample():
    shown = opened(draw(ramp(side=ONE_SIDE), None).scan)[..., 0]
    assert np.abs(shown - ramp(side=ONE_SIDE)[0, 0] / 257).mean() < 3  # of 255; WebP loses some


def test_colour_stays():
    slices = ramp(channels=3)
    slices[:, 1:] = 0
    shown = opened(draw(slices, None).scan)
    assert shown[:, -8:, 0].mean() > 200
    assert shown[..., 1].mean() < 20


def test_large_samples_become_small_and_small_ones_are_not_blown_up():
    assert opened(draw(ramp(side=512), None).scan).shape[:2] == (ONE_SIDE, ONE_SIDE)
    assert opened(draw(ramp(side=64), None).scan).shape[:2] == (64, 64)


def test_slices_lie_one_below_the_other_and_the_hottest_is_shown_first():
    slices, heat = np.zeros((5, 1, 200, 200), np.uint16), np.zeros((5, 200, 200), np.float32)
    for n in range(5):
        slices[n] = n * 12000
    heat[3, 40:60, 120:140] = 2.5
    found = draw(slices, heat)
    assert (found.slices, found.start) == (5, 3)
    shown = opened(found.scan)[..., 0].reshape(5, SLICE_SIDE, SLICE_SIDE)
    assert np.abs(shown.mean(axis=(1, 2)) - np.arange(5) * 12000 / 257).max() < 3
    opacity = opened(found.heat)[..., 3].reshape(5, SLICE_SIDE // 2, SLICE_SIDE // 2)
    assert opacity[3, 20, 52] > 0.9 * OPAQUE * 255  # row 50 of 200 and column 130 of 200
    assert opacity[[0, 1, 2, 4]].max() == 0
    colour = opened(found.heat).reshape(5, SLICE_SIDE // 2, SLICE_SIDE // 2, 4)[3, 20, 52, :3]
    assert np.abs(colour - HOT * 255).max() < 25


def test_of_many_slices_some_are_kept_with_the_hottest_among_them():
    heat = np.zeros((100, 16, 16), np.float32)
    heat[37] = np.eye(16)
    slices = np.arange(100, dtype=np.uint16).repeat(256).reshape(100, 1, 16, 16) * 655
    found = draw(slices, heat)
    assert found.slices == MOST_SLICES
    shown = opened(found.scan)[..., 0].reshape(MOST_SLICES, 16, 16).mean(axis=(1, 2))
    assert abs(shown[found.start] - 37 * 655 / 257) < 3


def test_without_a_map_or_with_a_flat_one_there_is_no_heat():
    for heat in (None, np.full((5, 64, 64), 0.3, np.float32)):
        found = draw(ramp(slices=5), heat)
        assert (found.heat, found.start) == ("", 2)
        assert found.size == len(found.scan)
