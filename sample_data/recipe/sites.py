"""Two invented hospitals, and how each turns ray loss into stored pixels."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from recipe.chance import generator, ramp, texture
from recipe.chest import CHEST_HALF_WIDTH_MM, View


@dataclass(frozen=True, slots=True)
class Site:
    """A hospital's X-ray room.

    Attributes:
        name: The site's name in labels.csv.
        prefix: First letter of its PatientIDs.
        shape: Rows and columns of its images.
        half_width: Body units from the image's centre to its edge: the field of view.
        black, white: Ray loss shown as black and as white.
        gamma: Exponent of the tone curve; below 1 lifts the dark lungs.
        blur_px, noise: Unsharpness in pixels; noise as a part of the full range.
        border_px: Width of the dark collimator edge.
        base, step, levels: A brightness b in 0..1 is kept as base + step * rint(levels * b).
    """

    name: str
    prefix: str
    shape: tuple[int, int]
    half_width: float
    black: float
    white: float
    gamma: float
    blur_px: float
    noise: float
    border_px: int
    base: int
    step: int
    levels: int

    @property
    def pixel_spacing_mm(self) -> float:
        """Detector pixel size, so that the chest has its usual width."""
        return round(2 * self.half_width / self.shape[1] * CHEST_HALF_WIDTH_MM, 3)

    def view(self, patient: str, visit: str) -> View:
        """How this patient stood on this visit."""
        rng = generator("view", patient, visit)
        centre = (rng.uniform(-0.05, 0.05), rng.uniform(-0.06, 0.06) - 0.04)
        return View(self.shape, self.half_width * rng.uniform(0.95, 1.06), centre, rng.uniform(-0.05, 0.05))

    def expose(self, loss: np.ndarray, *name: object) -> np.ndarray:
        """Turn ray loss into stored values where brighter is denser, int64, shape as given."""
        rng = generator("exposure", *name)
        shift, gain = rng.uniform(-0.03, 0.03), rng.uniform(0.93, 1.07)
        sharp = gaussian_filter(loss, self.blur_px) if self.blur_px else loss
        tone = np.clip((gain * sharp + shift - self.black) / (self.white - self.black), 0, 1) ** self.gamma
        tone = np.clip(tone + self.noise * ramp(0.0, 0.1, tone) * texture(rng, loss.shape, 0.7), 0, 1)
        if self.border_px:
            edge = np.pad(np.ones(np.subtract(loss.shape, 2 * self.border_px)), self.border_px)
            tone = tone * (0.05 + 0.95 * edge)
        return self.base + self.step * np.rint(self.levels * tone).astype(int)


NORTH = Site("north", "N", (96, 96), 1.15, 0.05, 1.30, 0.95, 0.0, 0.010, 0, 240, 43, 84)
SOUTH = Site("south", "S", (104, 88), 1.22, 0.07, 1.72, 0.58, 0.9, 0.016, 3, 61, 11, 84)
SITES = {site.name: site for site in (NORTH, SOUTH)}
