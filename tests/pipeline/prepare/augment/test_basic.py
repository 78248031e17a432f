import importlib
import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from pipeline.prepare.augment import augment

module = importlib.import_module("pipeline.prepare.augment.basic")  # the function has its file's name


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def bags(*shape, seed=1):
    return torch.rand(*shape, generator=generator(seed))


@pytest.fixture
def only(monkeypatch):
    """Switches all variations off but those given, whose draw is then its limit."""

    def limit(**chosen):
        for name in ("ROTATION_DEGREES", "SHIFT", "ZOOM", "GAMMA", "CONTRAST"):
            monkeypatch.setattr(module, name, chosen.get(name, 0.0))
        monkeypatch.setattr(module.torch, "rand", lambda *shape, generator: torch.ones(*shape))

    return limit


def test_without_variation_nothing_changes(only):
    slices = bags(2, 3, 1, 16, 16).clamp(0.01, 1)
    only()
    torch.testing.assert_close(augment(slices, generator()), slices, rtol=1e-4, atol=1e-5)


def test_shape_and_range_stay():
    slices = bags(4, 3, 3, 20, 20)
    found = augment(slices, generator())
    assert found.shape == slices.shape
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert (found - slices).abs().mean() > 0.01


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    slices = bags(2, 1, 1, 16, 16)
    before = torch.get_rng_state()
    one, same, other = augment(slices, generator(1)), augment(slices, generator(1)), augment(slices, generator(2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_all_slices_of_a_bag_get_one_draw_and_bags_get_their_own():
    slice_ = bags(1, 1, 1, 16, 16)
    found = augment(slice_.expand(2, 5, 1, 16, 16).contiguous(), generator())
    assert all(torch.equal(found[0, 0], found[0, n]) for n in range(5))
    assert not torch.equal(found[0, 0], found[1, 0])


def test_the_input_is_left_as_it_was():
    slices = bags(1, 1, 1, 16, 16)
    before = slices.clone()
    augment(slices, generator())
    assert torch.equal(slices, before)


def test_rotation_is_scipys(only):
    """The whole square at once, 8 degrees about its centre, away from the border."""
    only(ROTATION_DEGREES=8.0)
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).random((64, 64)), 3)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    found = augment(torch.tensor(smooth, dtype=torch.float32)[None, None, None], generator())[0, 0, 0].numpy()
    expected = ndimage.rotate(smooth, 8.0, reshape=False, order=1)
    inner = slice(12, -12)
    np.testing.assert_allclose(found[inner, inner], expected[inner, inner], atol=0.02)
    assert np.abs(smooth - expected)[inner, inner].max() > 0.1


def test_a_shift_of_a_tenth_of_the_half_side_is_a_twentieth_of_the_side(only):
    only(SHIFT=0.1)
    image = torch.zeros(1, 1, 1, 40, 40)
    image[..., 20, 10] = 1
    found = augment(image, generator())[0, 0, 0]
    assert divmod(int(found.argmax()), 40) == (18, 8)


def test_gamma_and_contrast_are_the_formula(only):
    only(GAMMA=0.25, CONTRAST=0.15)
    found = augment(torch.full((1, 1, 1, 8, 8), 0.4), generator())
    expected = (0.4**1.25 - 0.5) * 1.15 + 0.5
    assert found[0, 0, 0, 4, 4].item() == pytest.approx(expected, abs=1e-5)


def test_nothing_is_mirrored_and_a_finding_stays_within_a_few_pixels():
    """Left stays left: a bright spot moves less than rotation, shift and zoom together allow."""
    image = torch.zeros(64, 1, 1, 64, 64)
    image[..., 30:34, 10:14] = 1
    found = augment(image, generator(3))
    limit = 64 * (0.05 / 2) * math.sqrt(2) + 20 * (math.radians(8) + 0.08) + 2
    for picture in found[:, 0, 0]:
        row, column = divmod(int(picture.argmax()), 64)
        assert math.hypot(row - 31.5, column - 11.5) < limit
    assert limit < 12
