"""Three scanner shifts of radiographs in which only the acquisition differs, for benchmarks/shift.py.

They share no code with what is measured: scipy filters and numpy arithmetic on whole images.
"""

import numpy as np
from scipy import ndimage

WHITE = 65535


def noise_blur(image, seed):
    """Gaussian blur of 1.5 pixels, then white noise with standard deviation 0.08."""
    blurred = ndimage.gaussian_filter(image, 1.5)
    return blurred + np.random.default_rng(seed).normal(0, 0.08, image.shape)


def gamma_bias(image, _seed):
    """Gamma 2.2, then a smooth field that falls and rises by a factor of about 4 across the image."""
    grid = np.linspace(-1, 1, image.shape[0])
    y, x = np.meshgrid(grid, grid, indexing="ij")
    return image**2.2 * np.exp(0.7 * x - 0.4 * y + 0.3 * x * y)


def resolution_window(image, _seed):
    """A fifth of the resolution, then a display window from 0.25 to 0.75."""
    small = ndimage.zoom(ndimage.uniform_filter(image, 5), 0.2, order=1)
    large = ndimage.zoom(small, image.shape[0] / small.shape[0], order=1)[: image.shape[0], : image.shape[1]]
    return (large - 0.25) / 0.5


SCANNERS = {"noise+blur": noise_blur, "gamma+bias field": gamma_bias, "resolution+window": resolution_window}


def seen_through(name, sample, seed):
    """A prepared radiograph (1, 1, S, S), uint16, as that scanner would have shown it."""
    changed = SCANNERS[name](sample[0, 0] / WHITE, seed)
    return np.rint(changed.clip(0, 1) * WHITE).astype(np.uint16)[None, None]
