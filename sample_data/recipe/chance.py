"""Chance that is the same everywhere: every number follows from the seed and a name."""

import hashlib

import numpy as np
from scipy.ndimage import gaussian_filter


def number(*parts: object) -> int:
    """A 128-bit number made from the parts alone."""
    return int(hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:32], 16)


def generator(*parts: object) -> np.random.Generator:
    """A generator that depends on the parts alone. Draw from it with `random` and `uniform` only.

    Their streams have never changed between NumPy versions; those of `normal` or `choice` may.
    """
    return np.random.Generator(np.random.PCG64(number(*parts)))


def texture(rng: np.random.Generator, shape: tuple[int, ...], sigma: float | tuple[float, ...]) -> np.ndarray:
    """Smooth noise of the given shape: zero mean, standard deviation 1, blurred by sigma voxels."""
    noise = gaussian_filter(rng.random(shape) - 0.5, sigma, mode="reflect")
    return (noise - noise.mean()) / noise.std()


def ramp(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """Smooth step: 0 below low, 1 above high, 3 t^2 - 2 t^3 between. `low` may exceed `high`."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)
