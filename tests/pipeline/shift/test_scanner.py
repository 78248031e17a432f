"""The scanner's model against a simulation written here: transfer function, noise, grey-value curve and shading."""

import numpy as np
import pytest
from scipy import ndimage

from pipeline.errors import CohortError
from pipeline.shift.scanner import LEVELS, WHITE, Scanner, fit_scanner, mean_spectrum

SIDE = 64
GREYS = np.linspace(0, 1, LEVELS)


def patients(count, seed, *, slices=1, channels=1):
    """Smooth made-up anatomy of which every one differs, with a little texture at every frequency; grey values 0..1."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        coarse = ndimage.gaussian_filter(rng.normal(size=(slices, SIDE, SIDE)), (0, 6, 6))
        fine = ndimage.gaussian_filter(rng.normal(size=(slices, SIDE, SIDE)), (0, 1, 1))
        grey = 0.5 + 0.16 * coarse / coarse.std() + 0.05 * fine / fine.std()
        found.append(np.repeat(grey.clip(0, 1)[:, None], channels, axis=1))
    return found


def stored(images):
    return [np.rint(image.clip(0, 1) * WHITE).astype(np.uint16) for image in images]


def simulate(images, seed, *, blur=0.0, noise=0.0, gamma=1.0, field=None):
    """Another machine: Gaussian blur of so many pixels, white noise, a power law, shading."""
    rng = np.random.default_rng(seed)
    shown = []
    for image in images:
        soft = ndimage.gaussian_filter(image, (0, 0, blur, blur), mode="wrap") if blur else image
        grainy = (soft + rng.normal(0, noise, soft.shape)).clip(0, 1) if noise else soft
        shown.append(grainy**gamma * (1 if field is None else field))
    return shown


def shading(strength=0.25):
    """Brighter on one side, geometric mean 1."""
    ramp = np.broadcast_to(np.linspace(-strength, strength, SIDE), (SIDE, SIDE))
    return np.exp(ramp - ramp.mean())


def test_two_sides_of_one_scanner_change_nothing():
    found = fit_scanner(stored(patients(150, 0)), stored(patients(150, 1)))
    np.testing.assert_allclose(found.gain, 1, atol=0.1)
    assert found.noise < 0.01
    middle = slice(20, 109)  # grey values that both sides have many of
    np.testing.assert_allclose(found.curve[middle], GREYS[middle], atol=0.03)
    assert np.log(found.field).std() < 0.04  # of 150 patients' mean images
    (one,) = stored(patients(1, 2))
    assert np.abs(found.apply(one, 0) / WHITE - one / WHITE).mean() < 0.02


def test_planted_noise_is_found():
    target = simulate(patients(150, 1), 5, noise=0.06)
    found = fit_scanner(stored(patients(150, 0)), stored(target))
    assert found.noise == pytest.approx(0.06, rel=0.12)
    assert np.median(found.gain) == pytest.approx(1, abs=0.1)


def test_planted_blur_is_found():
    """The Fourier transform of a Gaussian of s pixels is exp(-2 pi^2 s^2 f^2)."""
    target = simulate(patients(150, 1), 5, blur=1.0)
    found = fit_scanner(stored(patients(150, 0)), stored(target))
    waves = np.arange(SIDE // 2 + 1) / SIDE
    expected = np.exp(-2 * np.pi**2 * waves**2)
    np.testing.assert_allclose(found.gain[4:24], expected[4:24], atol=0.1)
    assert found.noise < 0.01


def test_blur_and_noise_are_told_apart():
    target = simulate(patients(200, 1), 5, blur=1.0, noise=0.04)
    found = fit_scanner(stored(patients(200, 0)), stored(target))
    assert found.noise == pytest.approx(0.04, rel=0.12)
    assert found.gain[12] == pytest.approx(np.exp(-2 * np.pi**2 * (12 / SIDE) ** 2), abs=0.12)
    assert found.gain[24] < 0.5


def test_a_planted_curve_is_found():
    target = simulate(patients(150, 1), 5, gamma=1.6)
    found = fit_scanner(stored(patients(150, 0)), stored(target))
    assert (np.diff(found.curve) >= 0).all()
    middle = slice(20, 109)
    np.testing.assert_allclose(found.curve[middle], GREYS[middle] ** 1.6, atol=0.05)


def test_a_planted_field_is_found():
    target = simulate(patients(150, 1), 5, field=shading())
    found = fit_scanner(stored(patients(150, 0)), stored(target))
    across = np.log(found.field.mean(axis=0))
    slope = np.polyfit(np.arange(8, SIDE - 8), across[8:-8], 1)[0]
    assert slope == pytest.approx(0.5 / (SIDE - 1), rel=0.25)
    assert np.log(found.field).mean() == pytest.approx(0, abs=1e-9)
    assert np.abs(np.log(found.field.mean(axis=1))).max() < 0.08


def test_all_together_bring_the_source_to_the_target():
    """Spectrum, histogram and mean image of shown source scans lie nearer to the target's than those as they were."""
    change = {"blur": 0.8, "noise": 0.04, "gamma": 1.4, "field": shading(0.2)}
    source, target = stored(patients(200, 0)), stored(simulate(patients(200, 1), 5, **change))
    found = fit_scanner(source, target)
    shown = [found.apply(one, n) for n, one in enumerate(source)]

    def facts(scans):
        images = np.stack([scan[0, 0] / WHITE for scan in scans])
        return (
            np.log(mean_spectrum(images)[4:]),
            np.quantile(images, np.linspace(0.02, 0.98, 25)),
            ndimage.gaussian_filter(images.mean(axis=0), 6),
        )

    for before, after, there in zip(facts(source), facts(shown), facts(target), strict=True):
        assert np.abs(after - there).mean() < 0.35 * np.abs(before - there).mean()


def test_apply_is_the_formula():
    """Written out with a full two-dimensional FFT: clip(x * psf + noise), curve, field, clip."""
    rng = np.random.default_rng(3)
    gain = np.exp(-np.arange(SIDE // 2 + 1) / 20)
    curve, field = GREYS**0.7, shading(0.1)
    scanner = Scanner(gain, 0.05, curve, field)
    scan = rng.integers(0, 65536, (3, 1, SIDE, SIDE)).astype(np.uint16)
    waves = np.fft.fftfreq(SIDE)
    radius = np.minimum(np.rint(np.hypot(waves[:, None], waves[None]) * SIDE).astype(int), SIDE // 2)
    soft = np.fft.ifft2(np.fft.fft2(scan / WHITE) * gain[radius]).real
    grainy = (soft + np.random.default_rng(7).normal(0, 0.05, soft.shape)).clip(0, 1)
    expected = (np.interp(grainy, GREYS, curve) * field).clip(0, 1)
    np.testing.assert_allclose(scanner.apply(scan, 7) / WHITE, expected, atol=1 / WHITE)


def test_noise_hangs_on_the_seed_alone():
    scanner = Scanner(np.ones(SIDE // 2 + 1), 0.05, GREYS, np.ones((SIDE, SIDE)))
    (scan,) = stored(patients(1, 0))
    one = scanner.apply(scan, (3, 1))
    np.random.default_rng(0).normal()
    np.testing.assert_array_equal(scanner.apply(scan, (3, 1)), one)
    assert (scanner.apply(scan, (3, 2)) != one).mean() > 0.9
    quiet = Scanner(np.ones(SIDE // 2 + 1), 0.0, GREYS, np.ones((SIDE, SIDE)))
    np.testing.assert_array_equal(quiet.apply(scan, 1), scan)


def test_fitting_twice_gives_the_same():
    source, target = stored(patients(20, 0)), stored(simulate(patients(20, 1), 5, blur=1, noise=0.03))
    one, other = fit_scanner(source, target), fit_scanner(iter(source), iter(target))
    for name in ("gain", "curve", "field"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.noise == other.noise


@pytest.mark.parametrize(("slices", "channels"), [(5, 1), (1, 3), (4, 3)])
def test_volumes_and_colour_keep_their_shape_and_slices_have_noise_of_their_own(slices, channels):
    source = stored(patients(20, 0, slices=slices, channels=channels))
    clean = patients(20, 1, slices=slices, channels=channels)
    found = fit_scanner(source, stored(simulate(clean, 5, noise=0.1 * channels**0.5)))
    assert found.noise == pytest.approx(0.1, rel=0.2)  # of the channels' mean, which is what is looked at
    shown = found.apply(source[0], 0)
    assert shown.shape == (slices, channels, SIDE, SIDE)
    assert shown.dtype == np.uint16
    grains = (shown / WHITE - source[0] / WHITE).mean(axis=1).reshape(slices, -1)
    assert np.abs(np.corrcoef(grains) - np.eye(slices)).max() < 0.2
    assert grains.std() == pytest.approx(0.1, rel=0.25)  # in the channels' mean too


def test_white_noise_has_its_variance_at_every_frequency():
    noise = np.random.default_rng(0).normal(0, 0.2, (200, SIDE, SIDE))
    np.testing.assert_allclose(mean_spectrum(noise)[1:], 0.04, rtol=0.12)


@pytest.mark.parametrize("empty", [0, 1])
def test_a_side_without_scans_is_an_error(empty):
    sides = [stored(patients(2, 0)), stored(patients(2, 1))]
    sides[empty] = []
    with pytest.raises(CohortError, match="no scans to learn from on one side"):
        fit_scanner(*sides)


def test_constant_scans_do_not_break_the_fit():
    flat = [np.full((1, 1, SIDE, SIDE), level, np.uint16) for level in (0, 30000)]
    found = fit_scanner(flat, stored(patients(5, 1)))
    shown = found.apply(flat[1], 0)
    assert np.isfinite(found.gain).all()
    assert shown.dtype == np.uint16
