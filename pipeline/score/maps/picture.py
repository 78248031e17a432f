"""A heat-map laid over its image, with a bar that says what the colours mean and a mark at the peak."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Floats = npt.NDArray[np.float32]

OPAQUE = 0.55
HOT = np.array([1.0, 0.50, 0.0], np.float32)
SMALLEST, LARGEST = 480, 1024  # of the longer side in pixels
BAR, GAP, PANEL = 14, 10, 76
GROUND = 0.35  # grey that the bar shows the colours on


def overlay(image: Floats, warmth: Floats) -> Floats:
    """The image (H, W, 3) in [0, 1] with the warmth (H, W) in [0, 1] over it, from clear to orange."""
    weight = OPAQUE * warmth[..., None]
    mixed: Floats = image * (1 - weight) + HOT * weight
    return mixed


def picture(
    image: Floats,
    heat: Floats,
    limits: tuple[float, float],
    *,
    pixel: tuple[float, float] = (1.0, 1.0),
    mark: tuple[float, float] | None = None,
) -> Image.Image:
    """The overlay in the image's own proportions, enlarged or reduced to 480 to 1024 pixels, and the bar beside it.

    Args:
        image: Shape (H, W) or (H, W, 3), in [0, 1].
        heat: Shape (H, W).
        limits: Heat that is clear, and heat that is orange.
        pixel: Height and width of a pixel, in one unit.
        mark: Row and column of the peak, which a ring is drawn around; none without.
    """
    rows, columns = heat.shape
    true = np.array([rows * pixel[0], columns * pixel[1]])
    longest = np.clip(max(rows, columns), SMALLEST, LARGEST)
    height, width = (max(1, int(side)) for side in np.rint(true * longest / true.max()))
    low, high = limits
    warmth = ((heat - low) / (high - low)).clip(0, 1) if high > low else np.zeros_like(heat)
    grey = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    shown = np.stack([_resized(grey[..., colour], (width, height)) for colour in range(3)], axis=-1)
    mixed = overlay(shown.clip(0, 1), _resized(warmth, (width, height)).clip(0, 1))
    sheet = Image.new("RGB", (width + PANEL, max(height, 3 * BAR)))
    sheet.paste(_image(mixed), (0, 0))
    pen = ImageDraw.Draw(sheet)
    if mark is not None:
        _ring(pen, ((mark[1] + 0.5) * width / columns, (mark[0] + 0.5) * height / rows), max(height, width) / 28)
    if high > low:
        _bar(sheet, pen, (width + GAP, GAP, min(height, 220) - 2 * GAP), (low, high))
    return sheet


def _resized(plane: Floats, size: tuple[int, int]) -> Floats:
    return np.asarray(Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))


def _image(mixed: Floats) -> Image.Image:
    return Image.fromarray((mixed * 255).round().astype(np.uint8))


def _ring(pen: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float) -> None:
    x, y = centre
    for size, colour, line in ((radius + 1, "black", 4), (radius, "white", 2)):
        pen.ellipse((x - size, y - size, x + size, y + size), outline=colour, width=line)


def _bar(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, place: tuple[int, int, int], limits: tuple[float, float]
) -> None:
    """The colours from top (hottest) to bottom, and the heat at both ends."""
    left, top, length = place
    warmth = np.repeat(np.linspace(1, 0, max(length, 2), dtype=np.float32)[:, None], BAR, axis=1)
    sheet.paste(_image(overlay(np.full((*warmth.shape, 3), GROUND, np.float32), warmth)), (left, top))
    font = ImageFont.load_default(size=12)
    for value, y in ((limits[1], top), (limits[0], top + length - 12)):
        pen.text((left + BAR + 4, y), f"{value:.3g}", fill="white", font=font)
