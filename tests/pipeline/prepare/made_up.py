"""Made-up scans that share their gross shape, as all chests do, and copies of them."""

import numpy as np
from PIL import Image, ImageFilter

from pipeline.prepare.samples import LEVELS


def picture(seed, side=224):
    """A slice (side, side), uint16: two dark fields as everyone has, and blurred noise of one's own."""
    own = np.random.default_rng(seed).integers(0, 256, (side, side), np.uint8)
    own = Image.fromarray(own).filter(ImageFilter.GaussianBlur(side / 48))
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    lungs = np.hypot((abs(x - 0.5) - 0.2) / 0.16, (y - 0.5) / 0.35) < 1
    grey = 0.25 + 0.5 * ~lungs + 4 * (np.asarray(own) / 255.0 - 0.5) * 0.3
    return as_levels(grey)


def as_levels(grey):
    return (np.clip(grey, 0, 1) * LEVELS).astype(np.uint16)


def as_image(levels):
    return Image.fromarray((levels / 257).round().astype(np.uint8))


def as_slice(image, side):
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)).astype(np.uint16) * 257


def turned(levels, degrees):
    return as_slice(as_image(levels).rotate(degrees, Image.Resampling.BILINEAR), len(levels))


def cropped(levels, edge):
    side = len(levels)
    return as_slice(as_image(levels).crop((edge, edge, side - edge, side - edge)), side)


def bordered(levels, edge):
    side = len(levels)
    image = Image.new("L", (side + 2 * edge, side + 2 * edge))
    image.paste(as_image(levels), (edge, edge))
    return as_slice(image, side)
