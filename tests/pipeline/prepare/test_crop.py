import numpy as np
import pytest

from pipeline.prepare.crop import LEAST, foreground, whole
from pipeline.prepare.samples import LEVELS, Preparation, prepare
from pipeline.scan import Scan

MARGIN = 0.03


def anatomy(shape, seed=0):
    return np.random.default_rng(seed).uniform(0.3, 0.9, shape).astype(np.float32)


def bordered(left, right, top, bottom, *, level=0.0, noise=0.0, side=200):
    """A radiograph (side, side, 1) whose borders are flat."""
    image = level + noise * np.random.default_rng(1).standard_normal((side, side, 1)).astype(np.float32)
    image[left : side - right, top : side - bottom] = anatomy((side - left - right, side - top - bottom, 1))
    return image.astype(np.float32)


@pytest.mark.parametrize("level", [0.0, 0.08])
@pytest.mark.parametrize("borders", [(30, 20, 10, 40), (0, 50, 0, 0), (0, 0, 0, 0)])
def test_flat_borders_go_and_a_margin_stays(level, borders):
    left, right, top, bottom = borders
    image = bordered(*borders, level=level)
    kept = round(MARGIN * 200)
    (i, j, k) = foreground(image, 0.0, 1.0)
    assert i == (max(0, left - kept), min(200, 200 - right + kept))
    assert j == (max(0, top - kept), min(200, 200 - bottom + kept))
    assert k == (0, 1)


@pytest.mark.parametrize("level", [1.0, 0.5])
def test_a_border_that_is_flat_but_not_dark_may_be_saturated_anatomy(level):
    image = bordered(30, 20, 10, 40, level=level)
    assert foreground(image, 0.0, 1.0) == whole(image)


def test_noise_and_a_side_marker_in_the_border_do_not_count_as_anatomy():
    image = bordered(40, 40, 0, 0, noise=0.01)
    image[10:20, 100:103] = 1.0  # 1.5 % of a column
    assert foreground(image, 0.0, 1.0)[0] == (34, 166)


def test_the_grey_range_decides_what_is_flat():
    """Air of a CT varies by hundreds of HU, all of it black."""
    rng = np.random.default_rng(0)
    volume = rng.uniform(-1000, -600, (40, 40, 30)).astype(np.float32)
    volume[10:30, 8:36, 5:25] = rng.uniform(-100, 200, (20, 28, 20))
    assert foreground(volume, -160.0, 240.0) == ((9, 31), (7, 37), (4, 26))


def test_an_object_smaller_than_the_least_share_is_not_cropped_to():
    volume = np.zeros((60, 60, 60), np.float32)
    side = round(LEAST * 60) - 2
    volume[20 : 20 + side, 20:50, 20:50] = anatomy((side, 30, 30))
    assert foreground(volume, 0.0, 1.0) == whole(volume)


def test_an_image_without_borders_is_left_whole():
    image = anatomy((50, 70, 1))
    assert foreground(image, 0.0, 1.0) == ((0, 50), (0, 70), (0, 1))


def test_colour_is_judged_by_its_mean():
    image = np.zeros((50, 50, 1, 3), np.float32)
    image[10:40, 5:45] = anatomy((30, 40, 1, 3)) * 255
    assert foreground(image, 0.0, 255.0)[:2] == ((8, 42), (3, 47))


def test_preparation_shows_the_box_alone_and_says_where_it_lay():
    image = bordered(60, 40, 20, 80)
    scan = Scan(image, np.eye(4), "CR", "1.2", geometry="none")
    settings = Preparation(
        kind="radiograph", modality="CR/DX", image_size=112, slices=1, intensity="auto", window=(0.0, 1.0)
    )
    cropped = prepare(scan, settings.model_copy(update={"crop": "foreground", "image_size": 112}))
    assert cropped.layout.box == ((54, 166), (14, 126), (0, 1))
    np.testing.assert_allclose(cropped.slices[0, 0] / LEVELS, image[54:166, 14:126, 0].T.clip(0, 1), atol=1e-4)
    assert prepare(scan, settings).layout.box == whole(image)


def test_no_crop_leaves_the_digest_as_it_was():
    """The digest of version 2 without a crop, as bundles and caches of today hold it."""
    old = Preparation(kind="radiograph", modality="CR/DX", image_size=32, slices=1, intensity="auto")
    assert old.digest() == old.model_copy(update={"crop": "none"}).digest() == "4e60548b585550a1"
    assert old.model_copy(update={"crop": "foreground"}).digest() != old.digest()
