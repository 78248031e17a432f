"""A chest in front of a detector: how much each ray loses, from simple shapes that vary by patient.

Body coordinates: x to the patient's left, y downwards, both without unit; the chest wall lies near
x = -1 and 1 (about 160 mm), the shoulders near y = -0.9, the diaphragm near y = 0.65.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from recipe.chance import generator, ramp, texture

CHEST_HALF_WIDTH_MM = 160.0


@dataclass(frozen=True, slots=True)
class View:
    """How one radiograph was taken.

    Attributes:
        shape: Rows and columns.
        half_width: Body units from the image's centre to its left or right edge.
        centre: Body coordinates (x, y) at the image's centre.
        turn: Rotation of the patient in the image plane, radians.
    """

    shape: tuple[int, int]
    half_width: float
    centre: tuple[float, float]
    turn: float

    @property
    def pixel(self) -> float:
        """Size of a pixel in body units."""
        return 2 * self.half_width / self.shape[1]

    def body(self) -> tuple[np.ndarray, np.ndarray]:
        """Body coordinates x and y of every pixel."""
        rows, columns = np.mgrid[: self.shape[0], : self.shape[1]].astype(float)
        across = (columns - (self.shape[1] - 1) / 2) * self.pixel
        down = (rows - (self.shape[0] - 1) / 2) * self.pixel
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        return self.centre[0] + cos * across + sin * down, self.centre[1] - sin * across + cos * down


@dataclass(frozen=True, slots=True)
class Opacity:
    """A planted opacity: centre (row, column) and radius in pixels, and what it adds to the ray loss."""

    row: float
    column: float
    radius_px: float
    contrast: float


def ellipse(x: np.ndarray, y: np.ndarray, centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """Thickness of an ellipsoid along each ray, 1 at its centre and 0 outside."""
    inside = 1 - ((x - centre[0]) / radii[0]) ** 2 - ((y - centre[1]) / radii[1]) ** 2
    return np.sqrt(np.clip(inside, 0, None))


def lungs(patient: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Depth of aerated lung along each ray, 0..1; both lungs."""
    rng = generator("lungs", patient)
    height, dome, sides = rng.uniform(0.92, 1.05), rng.uniform(0.54, 0.68), []
    for side, lift in ((-1.0, rng.uniform(0.04, 0.09)), (1.0, 0.0)):
        across, radius = side * x, rng.uniform(0.40, 0.44)
        middle = 0.48 + 0.10 * ramp(-0.9, 0.5, y) - 0.04
        r = np.abs((across - middle) / radius) ** 2.3 + np.abs((y - 0.28) / (height * 1.08)) ** 2.6
        floor = dome - lift + 0.9 * np.abs(across - 0.42) ** 2.2
        depth = np.sqrt(np.clip(1 - r, 0, None)) ** 0.75
        sides.append(depth * ramp(0.0, 0.05, floor - y) * ramp(0.06, 0.14, across))
    return sides[0] + sides[1]


def bones(patient: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What ribs, clavicles and spine add to the ray loss."""
    rng = generator("bones", patient)
    spacing, start, bend = rng.uniform(0.195, 0.225), rng.random(), rng.uniform(0.34, 0.50)
    across, loss = np.abs(x), np.zeros_like(x)
    back = y - bend * across**2.4 + 0.07 * np.sin(2.6 * across)
    front = y + rng.uniform(0.62, 0.78) * across - 0.12 * across**2
    wall = ramp(1.0, 0.88, across) * ramp(-0.86, -0.76, y) * ramp(0.95, 0.65, y)
    for curve, strength, shift in (
        (back, 0.085 * ramp(0.06, 0.14, across), 0.0),
        (front, 0.055 * ramp(0.30, 0.55, across), 0.4),
    ):
        phase = curve / spacing + start + shift
        apart = np.abs(phase - np.rint(phase))
        band = ramp(0.25, 0.16, apart)
        rim = ramp(0.10, 0.20, apart) * band
        loss += wall * strength * (0.7 * band + 0.5 * rim)
    for side in (-1.0, 1.0):
        level = -0.66 - rng.uniform(0.12, 0.22) * side * x + 0.035 * np.sin(5.5 * side * x)
        extent = ramp(0.07, 0.12, side * x) * ramp(1.0, 0.9, side * x)
        loss += 0.15 * extent * ramp(0.055, 0.025, np.abs(y - level))
    vertebra = 0.75 + 0.25 * np.cos(2 * np.pi * y / 0.17)
    return loss + ramp(0.14, 0.07, across) * (0.05 + 0.05 * vertebra)


def vessels(patient: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What the hila and the vessels that fan out from them add to the ray loss."""
    rng = generator("vessels", patient)
    loss = np.zeros_like(x)
    for side in (-1.0, 1.0):
        away, down = side * x - 0.20, y - (0.02 if side < 0 else -0.02)
        far, angle = np.hypot(away, down), np.arctan2(down, away)
        loss += 0.09 * ramp(0.24, 0.0, np.hypot(away, 0.6 * down))
        for _ in range(13):
            direction, bend, reach = rng.uniform(-1.5, 1.6), rng.uniform(-0.8, 0.8), rng.uniform(0.35, 0.75)
            width = 0.028 * (1.1 - far / reach)
            off = np.abs(angle - direction - bend * far) * far
            loss += (
                0.085
                * ramp(0.03, 0.16, far)
                * ramp(reach, 0.10, far)
                * ramp(1.0, 0.3, off / np.clip(width, 0.012, None))
            )
    return loss


def opacity_loss(opacity: Opacity, patient: str, shape: tuple[int, int]) -> np.ndarray:
    """What the opacity adds to the ray loss: a mound with an uneven edge, its contrast at the centre."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
    far = np.hypot(rows - opacity.row, columns - opacity.column) / opacity.radius_px
    far += 0.16 * texture(generator("edge", patient, opacity.row), shape, 2.5) * ramp(0.2, 0.8, far)
    return opacity.contrast * ramp(1.1, 0.35, far)


def ray_loss(patient: str, view: View, visit: str, opacity: Opacity | None = None) -> np.ndarray:
    """Attenuation along each ray, shape `view.shape`: 0 in air, near 0.35 in lung, 1 in mediastinum."""
    rng = generator("body", patient)
    x, y = view.body()
    x = x + rng.uniform(-0.04, 0.04) * np.sin(2 * y)
    air = lungs(patient, x, y)
    width = 0.30 + 1.05 * ramp(-1.15, -0.62, y) - rng.uniform(0.18, 0.27) * ramp(-0.65, 0.0, y)
    thick = rng.uniform(0.80, 0.98) * np.sqrt(np.clip(1 - np.abs(x / width) ** 2.6, 0, None))
    aerated = thick - rng.uniform(0.52, 0.60) * air
    heart = (rng.uniform(0.12, 0.19), rng.uniform(0.30, 0.40))
    size = (rng.uniform(0.30, 0.38), rng.uniform(0.30, 0.36))
    loss = aerated + (0.10 + 0.32 * air) * ellipse(x - 0.25 * (y - heart[1]), y, heart, size) ** 0.7
    loss += 0.10 * ellipse(x, y, (-0.08, 0.30), (0.20, 0.34)) + 0.15 * ellipse(x, y, (0.12, -0.28), (0.11, 0.14))
    loss += 0.12 * ramp(0.22, 0.10, np.abs(x)) * ramp(-0.75, -0.3, y) + 0.10 * ramp(0.55, 0.75, y)
    loss -= 0.12 * ramp(0.065, 0.03, np.abs(x)) * ramp(-0.05, -0.2, y)
    for side in (-1.0, 1.0):
        loss += 0.05 * rng.random() * ellipse(x, y, (side * 0.5, 0.42), (0.36, 0.34))
    loss -= 0.18 * (rng.random() > 0.45) * ellipse(x, y, (0.42, 0.86), (0.16, 0.09))
    loss += ramp(0.0, 0.3, thick) * bones(patient, x, y) + np.clip(air, 0, 1) * vessels(patient, x, y)
    loss += 0.016 * np.sqrt(np.clip(thick, 0, None)) * texture(generator("tissue", patient, visit), view.shape, 2.2)
    if opacity is not None:
        loss += np.clip(2 * air, 0.15, 1) * opacity_loss(opacity, patient, view.shape)
    return np.clip(loss, 0, None)


def place_opacity(patient: str, view: View, visit: str) -> Opacity:
    """Choose where an opacity lies: well inside a lung, of a size and contrast drawn at random."""
    rng = generator("opacity", patient, visit)
    air = lungs(patient, *view.body())
    radius = rng.uniform(0.20, 0.34) / view.pixel
    contrast = rng.uniform(0.32, 0.50)
    room = distance_transform_edt(air > 0.4)
    rows, columns = np.nonzero(room >= min(0.75 * radius, 0.9 * room.max()))
    chosen = int(rng.random() * len(rows))
    row, column = float(rows[chosen]), float(columns[chosen])
    return Opacity(row, column, round(radius, 2), round(contrast, 4))
