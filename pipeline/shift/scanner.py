"""What the target's scanner does to an image, learned from unlabelled scans of both sides.

A head that was trained on source scans as the target's scanner would show them need not cope with that scanner's
noise, sharpness, grey values and shading. What a scanner cannot explain (other patients, other disease) stays.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.errors import CohortError

WHITE = float(np.iinfo(np.uint16).max)
ROUNDS = 4
LEVELS = 129
LARGEST_GAIN = 1.5
KEPT_WAVES = 3  # the coarsest frequencies belong to anatomy and to shading
NOISE_BAND = 2 / 3  # of the Nyquist frequency: above it anatomy is weak, so that noise shows
DROWNED = 0.25  # of the noise power: signal weaker than this says nothing of the gain
PIXEL_STEP = 3
SHADING_WIDTH = 1 / 8  # of the image's side
DARK = 0.02

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scanner:
    """How one scanner's images of size S x S become another's.

    y = field * curve( clip(x * psf + noise, 0, 1) ), clipped to 0..1, for grey values x in [0, 1].

    Attributes:
        gain: Ratio of the transfer functions by radial frequency, shape (S // 2 + 1,), from 0 cycles a pixel to 0.5;
            the Fourier transform of `psf`.
        noise: Standard deviation of white noise that is added.
        curve: Grey values that 0, 1/128, ..., 1 become, never falling.
        field: Shading, shape (S, S), around 1.
    """

    gain: Floats
    noise: float
    curve: Floats
    field: Floats

    def apply(self, slices: npt.NDArray[np.uint16], seed: Sequence[int] | int) -> npt.NDArray[np.uint16]:
        """Show prepared slices (N, C, S, S), uint16, as the scanner would; the noise is drawn from the seed."""
        drawn = np.random.default_rng(seed)
        shown = self._shade(self._blur(slices / WHITE, drawn))
        found: npt.NDArray[np.uint16] = np.rint(shown * WHITE).astype(np.uint16)
        return found

    def _blur(self, images: Floats, drawn: np.random.Generator) -> Floats:
        side = images.shape[-1]
        waves = np.fft.rfft2(images) * self.gain[_radius(side)]
        blurred: Floats = np.fft.irfft2(waves, s=(side, side))
        if self.noise > 0:
            # the same for all channels of a slice: it was measured on their mean
            blurred += drawn.normal(0, self.noise, (len(blurred), *[1] * (blurred.ndim > 3), side, side))
        return blurred.clip(0, 1)

    def _shade(self, images: Floats) -> Floats:
        curved = np.interp(images, np.linspace(0, 1, LEVELS), self.curve)
        shaded: Floats = (curved * self.field).clip(0, 1)
        return shaded

    def undo_shade(self, images: Floats) -> Floats:
        """Grey values before curve and field; where the curve is flat, any of those that it flattened."""
        rising = self.curve + np.arange(LEVELS) * 1e-9
        found: Floats = np.interp((images / self.field).clip(0, 1), rising, np.linspace(0, 1, LEVELS))
        return found


def fit_scanner(source: Iterable[npt.NDArray[np.uint16]], target: Iterable[npt.NDArray[np.uint16]]) -> Scanner:
    """Learn what makes source images look as if the target's scanner had taken them.

    In turns, each with the others as they are: the curve from pooled quantiles, the field from the low frequencies of
    the ratio of mean images, the transfer function and the noise from mean power spectra P:

    noise^2 = max(0, floor P_t - floor P_s),    gain^2 = clip((P_t - noise^2) / P_s, 0, 1.5^2)

    with each floor the smallest power above two thirds of the Nyquist frequency. Statistics of whole sets of scans are
    compared, never scan with scan, so that differences between patients of one hospital stay. It fits best where the
    two hospitals' patients are alike; where they are not, the field and the curve take up part of that.

    Args:
        source, target: Prepared scans, (N, C, S, S) uint16 each, some hundred a side; their middle slices are looked
            at, grey, and are held in memory.

    Raises:
        CohortError: If a side is empty.

    Source:
        The model is that of linear detectors (Cunningham & Shaw 1999, Signal-to-noise optimization of medical imaging
        systems): transfer function, noise power, then a grey-value curve; shading as a multiplicative field.
    """
    first, second = _middles(source), _middles(target)
    side = first.shape[-1]
    found = Scanner(np.ones(side // 2 + 1), 0.0, np.linspace(0, 1, LEVELS), np.ones((side, side)))
    power = mean_spectrum(first)
    for _ in range(ROUNDS):
        shown = found._blur(first, np.random.default_rng(0))
        curve = _curve(shown, second / found.field)
        curved = np.interp(shown, np.linspace(0, 1, LEVELS), curve)
        found = Scanner(found.gain, found.noise, curve, _field(curved, second))
        gain, noise = _transfer(power, mean_spectrum(found.undo_shade(second)))
        found = Scanner(gain, noise, curve, found.field)
    return found


def _middles(scans: Iterable[npt.NDArray[np.uint16]]) -> Floats:
    """The middle slice of each scan, grey, (M, S, S) in [0, 1]."""
    found = [scan[len(scan) // 2].mean(axis=0) for scan in scans]
    if not found:
        raise CohortError("scanner: no scans to learn from on one side")
    return np.stack(found) / WHITE


def _radius(side: int) -> npt.NDArray[np.int64]:
    """Radial frequency of each entry of a real FFT, in steps of 1 / side cycles a pixel, capped at side // 2."""
    down, across = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    radius: npt.NDArray[np.int64] = (np.hypot(down, across) * side).round().astype(np.int64)
    return np.minimum(radius, side // 2)


def mean_spectrum(images: Floats) -> Floats:
    """Mean power by radial frequency of images (M, S, S), windowed; white noise of variance v has power v throughout.

    Returns:
        Shape (S // 2 + 1,).
    """
    side = images.shape[-1]
    window = np.outer(np.hanning(side), np.hanning(side))
    window /= np.sqrt((window**2).mean())
    radius = _radius(side)
    count = np.bincount(radius.ravel())
    total = np.zeros(side // 2 + 1)
    for image in images:
        power = np.abs(np.fft.rfft2((image - image.mean()) * window)) ** 2 / side**2
        total += np.bincount(radius.ravel(), power.ravel()) / count
    return total / len(images)


def _transfer(source: Floats, target: Floats) -> tuple[Floats, float]:
    """Gain and noise from two power spectra."""
    high = round(len(source) * NOISE_BAND)
    variance = max(0.0, float(target[high:].min() - source[high:].min()))
    squared = ((target - variance) / source.clip(min=1e-12)).clip(0, LARGEST_GAIN**2)
    drowned = target - variance < DROWNED * variance
    if drowned.any():
        first = max(1, int(drowned.argmax()))
        squared[first:] = squared[first:].min(initial=squared[first - 1], where=~drowned[first:])
    gain = np.sqrt(squared)
    gain[:KEPT_WAVES] = 1
    smooth: Floats = ndimage.gaussian_filter1d(gain, 1.5, mode="nearest")
    return smooth, variance**0.5


def _curve(source: Floats, target: Floats) -> Floats:
    """Levels that 0, 1/128, ..., 1 become so that pooled quantiles agree; straight beyond the source's extremes."""
    shares, grid = np.linspace(0, 1, LEVELS), np.linspace(0, 1, LEVELS)
    ours = np.quantile(source[:, ::PIXEL_STEP, ::PIXEL_STEP], shares)
    theirs = np.quantile(target[:, ::PIXEL_STEP, ::PIXEL_STEP].clip(0, 1), shares)
    rising = np.maximum.accumulate(ours) + np.arange(LEVELS) * 1e-7
    knots = np.concatenate([[min(0.0, rising[0] - 1e-7)], rising, [max(1.0, rising[-1] + 1e-7)]])
    levels = np.concatenate([[0.0 if rising[0] > 1e-6 else theirs[0]], theirs, [1.0 if rising[-1] < 1 else theirs[-1]]])
    return np.maximum.accumulate(np.interp(grid, knots, levels)).clip(0, 1)


def _field(source: Floats, target: Floats) -> Floats:
    """Low frequencies of the ratio of mean images, geometric mean 1."""
    ratio = np.log((target.mean(axis=0) + DARK) / (source.mean(axis=0) + DARK))
    smooth = ndimage.gaussian_filter(ratio, source.shape[-1] * SHADING_WIDTH, mode="nearest")
    field: Floats = np.exp(smooth - smooth.mean())
    return field
