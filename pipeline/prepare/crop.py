"""The part of a scan worth looking at: what lies within dark flat borders, such as collimator shutters or air."""

import numpy as np
import numpy.typing as npt

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

DARK = 0.1  # of the grey range: a border's median is below
TOLERANCE = 0.05  # of the grey range: a border's values differ by less
STRANGE = 0.02  # share of a border's values that may differ by more: noise, a corner of a side marker
MARGIN = 0.03  # of the side, kept around what was found
LEAST = 0.3  # of each side; a smaller box is more likely a mistake


def whole(voxels: npt.NDArray[np.float32]) -> Box:
    """The box that holds everything of voxels (I, J, K[, 3])."""
    i, j, k = voxels.shape[:3]
    return ((0, i), (0, j), (0, k))


def foreground(voxels: npt.NDArray[np.float32], low: float, high: float) -> Box:
    """Start and stop of what is not background along I, J and K.

    Planes at a border (of a single slice: columns and rows) are background for as long as at most 2 % of their
    values lie farther than 5 % of the grey range from the median of the outermost plane, and that is among the
    darkest 10 %. That holds for black shutters and for air, and ends where anatomy begins; a border that is not flat
    stays, and so does a white one, since saturated anatomy looks the same. A margin of 3 % of the side is kept. Where
    less than 30 % of a side would remain, nothing is cropped.

    Args:
        voxels: Shape (I, J, K) or (I, J, K, 3), turned to patient axes if they have any.
        low, high: Values that are black and white to the network (`value_range`).
    """
    box = [list(side) for side in whole(voxels)]
    axes = [axis for axis in range(3) if voxels.shape[axis] > 1]
    changed = True
    while changed:
        before = [tuple(side) for side in box]
        for axis in axes:
            _peel(voxels, box, axis, (low, high))
        changed = before != [tuple(side) for side in box]
    if any(stop - start < LEAST * length for (start, stop), length in zip(box, voxels.shape, strict=False)):
        return whole(voxels)
    i, j, k = (
        (max(0, start - round(MARGIN * length)), min(length, stop + round(MARGIN * length)))
        for (start, stop), length in zip(box, voxels.shape, strict=False)
    )
    return (i, j, k)


def _peel(voxels: npt.NDArray[np.float32], box: list[list[int]], axis: int, limits: tuple[float, float]) -> None:
    """Take flat planes off both ends of one axis; at least one plane stays."""
    for end, step in ((0, 1), (1, -1)):
        level: float | None = None
        while box[axis][1] - box[axis][0] > 1:
            plane = _plane(voxels, box, axis, end, limits)
            level = float(np.median(plane)) if level is None else level
            if level > DARK or np.mean(np.abs(plane - level) > TOLERANCE) > STRANGE:
                break
            box[axis][end] += step


def _plane(
    voxels: npt.NDArray[np.float32], box: list[list[int]], axis: int, end: int, limits: tuple[float, float]
) -> npt.NDArray[np.float32]:
    """The outermost plane of the box at one end of an axis, scaled to 0..1; colour as its mean."""
    at = [slice(*side) for side in box]
    first = box[axis][0] if end == 0 else box[axis][1] - 1
    at[axis] = slice(first, first + 1)
    plane = voxels[tuple(at)]
    grey = plane.mean(axis=-1) if plane.ndim == 4 else plane
    scaled: npt.NDArray[np.float32] = ((grey - limits[0]) / (limits[1] - limits[0])).clip(0, 1)
    return scaled
