"""Each change of acquisition is its formula, leaves the body in place and stays within its bounds."""

import math

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre
from scipy import ndimage

from pipeline.prepare.augment.acquisition import (
    ACQUISITION,
    BIAS,
    BLUR,
    COARSENESS,
    DEGREE,
    GAMMA,
    READ,
    SHOT,
    WINDOW,
    bias_field,
    blur,
    gamma,
    gaussian_kernels,
    noise,
    resolution,
    window,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def bags(*shape, seed=1):
    return torch.rand(*shape, generator=generator(seed))


def strength(*values):
    return torch.tensor(values)


@pytest.mark.parametrize("name", ACQUISITION)
def test_strength_nought_changes_nothing(name):
    slices = bags(3, 2, 1, 24, 24)
    torch.testing.assert_close(ACQUISITION[name](slices, torch.zeros(3), generator()), slices, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", ACQUISITION)
@pytest.mark.parametrize("shape", [(4, 3, 1, 64, 64), (2, 1, 3, 71, 71)])
def test_shape_range_and_input_stay(name, shape):
    slices = bags(*shape)
    before = slices.clone()
    found = ACQUISITION[name](slices, torch.linspace(-1, 1, shape[0]), generator())
    assert torch.equal(slices, before)
    assert found.shape == slices.shape
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert (found - slices).abs().mean() > 0.005


@pytest.mark.parametrize("name", [name for name in ACQUISITION if name != "noise"])
def test_bags_do_not_mix_and_slices_of_a_bag_are_treated_alike(name):
    """The same slice five times in a bag comes out five times the same, whatever else is in the batch."""
    slices = bags(2, 1, 1, 16, 16).expand(2, 5, 1, 16, 16).contiguous()
    found = ACQUISITION[name](slices, strength(0.9, -0.4), generator())
    assert all(torch.allclose(found[:, 0], found[:, n], atol=1e-6) for n in range(5))
    other = slices.clone()
    other[1] = 0.3
    torch.testing.assert_close(ACQUISITION[name](other, strength(0.9, -0.4), generator())[0], found[0])


def test_noise_is_drawn_for_each_pixel_of_each_slice():
    found = noise(torch.full((1, 2, 1, 40, 40), 0.5), strength(1.0), generator())
    assert abs(np.corrcoef(found[0, 0].flatten(), found[0, 1].flatten())[0, 1]) < 0.1
    row = found[0, 0, 0] - 0.5
    assert abs(float((row[:, 1:] * row[:, :-1]).mean() / row.var())) < 0.1


@pytest.mark.parametrize("grey", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("u", [0.4, -1.0])
def test_the_variance_of_the_noise_is_its_formula(grey, u):
    """a x + b^2, and no change of the mean; grey values far enough from black and white to be clipped nowhere."""
    found = noise(torch.full((1, 1, 1, 300, 300), grey), strength(u), generator(2))
    expected = abs(u) * SHOT * grey + (abs(u) * READ) ** 2
    assert float(found.var()) == pytest.approx(expected, rel=0.03)
    assert float(found.mean()) == pytest.approx(grey, abs=4 * math.sqrt(expected) / 300)


def test_bright_parts_are_noisier_than_dark_ones():
    slices = torch.full((1, 1, 1, 100, 200), 0.3)
    slices[..., 100:] = 0.7
    found = noise(slices, strength(1.0), generator())
    ratio = found[..., 100:].var() / found[..., :100].var()
    assert float(ratio) == pytest.approx((SHOT * 0.7 + READ**2) / (SHOT * 0.3 + READ**2), rel=0.06)


def test_kernels_are_gaussian_and_sum_to_one():
    sigma = torch.tensor([0.0, 0.7, 1.5])
    found = gaussian_kernels(sigma, 5).numpy()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found[0], np.eye(11)[5], atol=1e-6)
    k = np.arange(-5, 6)
    for row, s in zip(found[1:], (0.7, 1.5), strict=True):
        expected = np.exp(-(k**2) / (2 * s * s))
        np.testing.assert_allclose(row, expected / expected.sum(), atol=1e-6)


@pytest.mark.parametrize("u", [0.5, -1.0])
def test_blur_is_scipys(u):
    image = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    found = blur(torch.from_numpy(image)[None, None, None], strength(u), generator())[0, 0, 0].numpy()
    radius = math.ceil(3 * BLUR * 64)
    expected = ndimage.gaussian_filter(image, abs(u) * BLUR * 64, mode="nearest", radius=radius)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_blur_keeps_a_constant_and_the_sum_of_a_spot():
    torch.testing.assert_close(blur(torch.full((1, 1, 1, 32, 32), 0.4), strength(1.0), generator()).mean().item(), 0.4)
    spot = torch.zeros(1, 1, 1, 224, 224)
    spot[..., 100:103, 80:83] = 1
    found = blur(spot, strength(1.0), generator())
    assert float(found.sum()) == pytest.approx(9, rel=1e-4)
    assert divmod(int(found.argmax()), 224) == (101, 81)
    assert float(found.max()) < 0.5


def test_coarse_pixels_lose_detail_but_not_the_mean():
    fine = (torch.arange(48)[:, None] + torch.arange(48)) % 2.0
    found = resolution(fine[None, None, None], strength(1.0), generator())
    assert float(found.std()) < 0.05
    assert float(found.mean()) == pytest.approx(0.5, abs=0.01)
    slope = torch.linspace(0, 1, 48).expand(1, 1, 1, 48, 48)
    kept = resolution(slope, strength(1.0), generator())
    torch.testing.assert_close(kept[..., 6:-6], slope[..., 6:-6], atol=0.01, rtol=0)
    smooth = torch.from_numpy(ndimage.gaussian_filter(np.random.default_rng(0).random((48, 48)), 1)).float()
    found = resolution(smooth[None, None, None].repeat(2, 1, 1, 1, 1), strength(1.0, 0.3), generator())
    lost = (found - smooth).abs().mean(dim=(1, 2, 3, 4))
    assert lost[0] > 1.5 * lost[1] > 0
    assert round(48 / COARSENESS) == 16


def fields(seed, u=1.0, side=64):
    """The logarithm of the bias field, from what it does to a grey image."""
    grey = torch.full((8, 1, 1, side, side), 0.5)
    return (bias_field(grey, torch.full((8,), u), generator(seed)) / 0.5).log()[:, 0, 0].numpy()


def test_a_bias_field_is_a_bounded_polynomial_of_low_degree():
    x = (np.arange(64) + 0.5) / 32 - 1
    basis = legendre.legvander2d(np.repeat(x, 64), np.tile(x, 64), [DEGREE, DEGREE])
    found = fields(0)
    assert 0.05 < np.abs(found).max() <= BIAS + 1e-6
    for field in found:
        coefficients, residue, *_ = np.linalg.lstsq(basis, field.ravel(), rcond=None)
        assert residue[0] < 1e-6
        table = coefficients.reshape(DEGREE + 1, DEGREE + 1)
        degree = np.add.outer(range(DEGREE + 1), range(DEGREE + 1))
        np.testing.assert_allclose(table[degree > DEGREE], 0, atol=1e-5)
        assert abs(table[0, 0]) < 1e-4
        assert np.abs(table).sum() == pytest.approx(BIAS, abs=1e-4)


def test_a_bias_field_is_smooth_and_keeps_the_mean_logarithm():
    found = fields(1)
    assert np.abs(found.mean(axis=(1, 2))).max() < 0.005
    steps = max(np.abs(np.diff(found, axis=axis)).max() for axis in (1, 2))
    assert steps < BIAS * DEGREE**2 * 2 / 64  # Markov's inequality for polynomials bounded by BIAS


def test_bias_fields_differ_between_bags_and_turn_round_with_the_sign():
    found = fields(2)
    assert np.abs(found[0] - found[1]).max() > 0.05
    np.testing.assert_allclose(fields(2, u=-1.0), -found, atol=1e-5)


def test_gamma_is_its_formula_and_goes_both_ways():
    slices = torch.tensor([0.0, 0.25, 0.5, 1.0]).expand(2, 1, 1, 4, 4).contiguous()
    found = gamma(slices, strength(1.0, -0.5), generator())[:, 0, 0, 0]
    for row, u in zip(found, (1.0, -0.5), strict=True):
        expected = [x ** math.exp(u * GAMMA) for x in (0.0, 0.25, 0.5, 1.0)]
        np.testing.assert_allclose(row, expected, atol=1e-4)


def test_a_window_is_its_formula():
    """Both ends from the line it makes of grey values in the middle."""
    slices = torch.linspace(0.3, 0.7, 5).expand(40, 1, 1, 5, 5).contiguous()
    found = window(slices, torch.full((40,), 1.0), generator())[:, 0, 0, 0].numpy()
    slope = (found[:, -1] - found[:, 0]) / 0.4
    low = 0.3 - found[:, 0] / slope
    high = low + 1 / slope
    np.testing.assert_allclose(found, (np.linspace(0.3, 0.7, 5) - low[:, None]) / (high - low)[:, None], atol=1e-5)
    for end, middle in ((low, 0), (high, 1)):
        assert np.abs(end - middle).max() <= WINDOW + 1e-5
        assert np.abs(end - middle).max() > 0.8 * WINDOW
        assert (end > middle).any()
        assert (end < middle).any()
