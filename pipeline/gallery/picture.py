"""Prepared slices and their heat as small pictures that lie in the page itself."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.score.maps.picture import HOT, OPAQUE

ONE_SIDE = 224  # pixels of a picture that stands alone
SLICE_SIDE = 160  # of a slice among several
MOST_SLICES = 48  # WebP ends at 16,383 rows
HEAT_STEPS = 24  # levels of opacity: fewer bytes, and the eye sees no more
QUALITY = 72

Levels = npt.NDArray[np.uint16]
Heat = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Picture:
    """One scan as the network saw it.

    Attributes:
        scan: `data:` address of its slices, one below the other.
        heat: The same of the heat over them, transparent where there is none; empty without a map.
        slices: How many slices.
        start: Slice that is shown first, from 0: the hottest, or the middle one.
    """

    scan: str
    heat: str
    slices: int
    start: int

    @property
    def size(self) -> int:
        """Bytes in the page."""
        return len(self.scan) + len(self.heat)


def draw(slices: Levels, heat: Heat | None) -> Picture:
    """Make the picture of a sample.

    Of more than 48 slices 48 are kept, evenly spaced. Heat is clear up to the scan's median and orange at its peak,
    as in the pictures of `scanshift score --heatmaps`.

    Args:
        slices: Shape (N, C, S, S), C = 1 or 3, 0..65535.
        heat: Shape (N, S, S), any unit; None without a map.
    """
    warmth = None if heat is None else _warmth(heat)
    start = len(slices) // 2 if warmth is None else int(warmth.max(axis=(1, 2)).argmax())
    kept = _spread(len(slices), start)
    side = min(ONE_SIDE if len(kept) == 1 else SLICE_SIDE, slices.shape[-1])
    scan = _strip([_shown(slices[n], side) for n in kept])
    over = "" if warmth is None else _strip([_orange(warmth[n], max(side // 2, 1)) for n in kept])
    return Picture(scan, over, len(kept), kept.index(start))


def _spread(slices: int, start: int) -> list[int]:
    """At most 48 slices in order, the one shown first among them."""
    kept = np.unique(np.linspace(0, slices - 1, min(slices, MOST_SLICES)).round().astype(int))
    kept[np.abs(kept - start).argmin()] = start
    return [int(n) for n in kept]


def _warmth(heat: Heat) -> Heat | None:
    """0..1 between the median and the peak; None where the map has one value everywhere."""
    low, high = float(np.median(heat)), float(heat.max())
    if not high > low:
        return None
    warmth: Heat = ((heat - low) / (high - low)).clip(0, 1).astype(np.float32)
    return warmth


def _shown(levels: Levels, side: int) -> Image.Image:
    eight = (levels // 257).astype(np.uint8).transpose(1, 2, 0)
    return Image.fromarray(eight if eight.shape[2] == 3 else eight[..., 0]).resize((side, side))


def _orange(warmth: Heat, side: int) -> Image.Image:
    small = np.asarray(Image.fromarray(warmth).resize((side, side), Image.Resampling.BILINEAR))
    opacity = np.rint(small.clip(0, 1) * HEAT_STEPS) / HEAT_STEPS * OPAQUE
    pixels = np.empty((side, side, 4), np.uint8)
    pixels[..., :3] = np.rint(HOT * 255)
    pixels[..., 3] = np.rint(opacity * 255)
    return Image.fromarray(pixels, "RGBA")


def _strip(slices: list[Image.Image]) -> str:
    """Slices one below the other, as an address that holds the picture itself."""
    width, height = slices[0].size
    sheet = Image.new(slices[0].mode, (width, height * len(slices)))
    for n, one in enumerate(slices):
        sheet.paste(one, (0, n * height))
    file = io.BytesIO()
    sheet.save(file, format="WEBP", quality=QUALITY, alpha_quality=80, method=4)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
