import io

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from pipeline.prepare.near_duplicates import NEAR
from pipeline.prepare.picture_hash import BITS, detail, picture_bits, picture_hash
from pipeline.prepare.samples import LEVELS
from tests.pipeline.prepare.made_up import as_image, as_levels, as_slice, bordered, cropped, picture, turned

SALT = "0123456789abcdef" * 2


def bits_apart(copy, original):
    rows = picture_bits(detail(copy[None, None], 1), SALT)
    return int(np.bitwise_count(rows ^ picture_hash(original[None, None], 1, SALT)).sum(axis=1).min())


def jpeg(levels):
    file = io.BytesIO()
    as_image(levels).save(file, "JPEG", quality=50)
    return as_slice(Image.open(file), len(levels))


def resized(levels):
    side = round(0.6 * len(levels))
    return as_slice(as_image(levels).resize((side, side), Image.Resampling.BILINEAR), len(levels))


def marked(levels):
    copy = levels.copy()
    copy[7:24, 7:40] = LEVELS
    return copy


@pytest.mark.parametrize(
    "change",
    [
        jpeg,
        resized,
        marked,
        lambda x: as_levels((x / LEVELS) ** 0.8),
        lambda x: as_levels(x / LEVELS + 0.1),
        lambda x: as_levels(1.2 * x / LEVELS - 0.1),
        lambda x: turned(x, 2),
        lambda x: turned(x, -1.4),
        lambda x: cropped(x, 7),
        lambda x: bordered(x, 7),
        lambda x: jpeg(cropped(turned(x, 1.5), 4)),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_changed_copy_is_near(change, seed):
    original = picture(seed)
    assert bits_apart(change(original), original) <= NEAR


def test_pictures_with_the_same_gross_shape_are_not_near():
    pictures = [picture(seed) for seed in range(12)]
    apart = [bits_apart(one, other) for n, one in enumerate(pictures) for other in pictures[:n]]
    assert min(apart) > NEAR + 40


def test_a_smaller_export_is_near():
    original = picture(1)
    assert bits_apart(as_slice(as_image(original), 112), original) <= NEAR


def test_detail_is_the_weighted_faded_cosine_transform_of_ranks():
    """Second implementation: SciPy's DCT of faded ranks, for a picture of the thumbnail's size."""
    levels = as_levels(np.random.default_rng(3).permutation(64 * 64).reshape(64, 64) / 4095)
    grey = np.round(levels / LEVELS * 255)
    ranks = np.array([np.mean(grey < g) + np.mean(grey == g) / 2 - 0.5 for g in grey.ravel()]).reshape(64, 64)
    place = (np.arange(64) + 0.5) / 64
    fade = 0.5 - 0.5 * np.cos(np.pi * np.clip(np.minimum(place, 1 - place) / 0.35, 0, 1))
    waves = dctn(ranks * fade[:, None] * fade, type=2)[:32, :32]
    u, v = np.mgrid[:32, :32]
    r = np.hypot(u, v)
    band = (r >= 4) & (r < 32)
    expected = (waves * r**2)[band]
    found = detail(levels[None, None], 1, moved=False)
    assert found.shape == (1, 818)
    assert found[0] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-4)


def test_bits_apart_follow_the_angle():
    """Charikar 2002: vectors of angle a differ in a / pi of the signs."""
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 818))
    one /= np.linalg.norm(one)
    other -= (other @ one) * one
    other /= np.linalg.norm(other)
    turned_by = np.cos(np.pi / 4) * one + np.sin(np.pi / 4) * other
    rows = picture_bits(np.stack([one, turned_by, other]).astype(np.float32), SALT)
    apart = np.bitwise_count(rows ^ rows[0]).sum(axis=1) / BITS
    assert apart == pytest.approx([0, 1 / 4, 1 / 2], abs=0.08)


def test_hashes_under_two_salts_are_unlike():
    one = picture(1)[None, None]
    apart = np.bitwise_count(picture_hash(one, 1, SALT) ^ picture_hash(one, 1, "ff" * 16)).sum()
    assert apart == pytest.approx(BITS / 2, abs=70)


def test_a_scan_without_detail_has_no_hash():
    blank = np.zeros((1, 1, 64, 64), np.uint16)
    blank[..., :1] = LEVELS
    assert picture_hash(blank, 1, SALT).shape == (0, BITS // 64)
    assert picture_bits(detail(blank, 1), SALT).shape == (0, BITS // 64)


def test_volumes_are_compared_third_by_third():
    def volume(*seeds):
        return np.stack([picture(seed)[None] for seed in seeds])

    one = volume(1, 1, 2, 2, 3, 3)
    more_slabs = volume(1, 1, 1, 2, 2, 2, 3, 3, 3)
    assert bits_apart_of_volumes(one, more_slabs) <= NEAR
    assert bits_apart_of_volumes(one, volume(4, 4, 5, 5, 6, 6)) > NEAR + 40
    assert bits_apart_of_volumes(one, volume(3, 3, 2, 2, 1, 1)) > NEAR + 40
    assert picture_hash(one[:1], 3, SALT).shape == (1, BITS // 64)


def bits_apart_of_volumes(one, other):
    return int(np.bitwise_count(picture_hash(one, 3, SALT) ^ picture_hash(other, 3, SALT)).sum())


def test_colour_counts_as_its_mean():
    grey = picture(1)[None, None]
    assert (picture_hash(np.repeat(grey, 3, axis=1), 1, SALT) == picture_hash(grey, 1, SALT)).all()
