"""From DICOM's LPS+ positions to RAS+ affines: the only place that converts.

A volume's step along K is the mean of its position steps as a vector, so a tilted gantry gives a sheared affine.
"""

import statistics
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.errors import Reason, ScanError
from pipeline.ingest.facts import FrameFacts

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME_PLACE_MM = 0.01
STEP_TOLERANCE_MM = 0.025
STEP_TOLERANCE = 0.01  # of the step
SIDEWAYS_STEPS = 2  # a step may go this many tolerances off the line: both its ends are rounded
DIRECTION_TOLERANCE = 1e-3
UNIT_TOLERANCE = 1e-2
SPACING_TOLERANCE = 1e-4  # of the spacing: a tenth of a pixel over 1000 of them

Array = npt.NDArray[np.float64]


def same_direction(one: FrameFacts, other: FrameFacts) -> bool:
    """Whether two frames lie in parallel planes and are turned alike, to rounding."""
    if one.orientation == other.orientation:
        return True
    if one.orientation is None or other.orientation is None:
        return False
    return bool(np.allclose(one.orientation, other.orientation, rtol=0, atol=DIRECTION_TOLERANCE))


def same_spacing(one: FrameFacts, other: FrameFacts) -> bool:
    """Whether two frames have pixels of one size, to rounding."""
    if one.spacing == other.spacing:
        return True
    if one.spacing is None or other.spacing is None:
        return False
    return bool(np.allclose(one.spacing, other.spacing, rtol=SPACING_TOLERANCE, atol=0))


def along_normal(frames: Sequence[FrameFacts]) -> Array:
    """Each frame's distance along the slice normal in mm, shape (K,).

    Raises:
        ScanError: NO_POSITION or UNSUPPORTED_GEOMETRY where the header does not place the frames.
    """
    for frame in frames:
        if frame.position is None or frame.orientation is None or frame.spacing is None:
            _require_place(frame)
    for frame in {(frame.orientation, frame.spacing): frame for frame in frames}.values():
        _require_place(frame)
    return np.array([frame.position for frame in frames]) @ _normal(frames[0])


def most_at_one_place(frames: Sequence[FrameFacts]) -> int:
    """The largest number of frames that lie at one place along the normal."""
    distances = np.sort(along_normal(frames))
    places = np.cumsum(np.diff(distances, prepend=distances[0]) > SAME_PLACE_MM)
    return int(np.bincount(places).max())


def repeated(frames: Sequence[FrameFacts]) -> bool:
    """Whether two of the frames lie at one place."""
    return most_at_one_place(frames) > 1


def require_even(frames: Sequence[FrameFacts]) -> None:
    """Check that frames, in order along the normal, are evenly spaced along a straight line.

    Steps may differ by 0.025 mm or 1 % of the step, whichever is more: positions are stored rounded.

    Raises:
        ScanError: DUPLICATE_POSITION, MISSING_SLICE or UNEVEN_SPACING.
    """
    distances = along_normal(frames)
    gaps = np.diff(distances)
    if len(gaps) == 0:
        return
    if gaps.min() <= SAME_PLACE_MM:
        at = int(gaps.argmin())
        raise ScanError(
            Reason.DUPLICATE_POSITION, f"{len(frames)} images, two of them at position {at}, expected one each"
        )
    usual, tolerance = usual_step(gaps)
    whole = np.maximum(np.round(gaps / usual), 1)
    odd = np.abs(gaps - usual) > tolerance
    if odd.any():
        missing = bool((np.abs(gaps - whole * usual) <= whole * tolerance).all())
        at = int(np.abs(gaps - usual).argmax())
        code = Reason.MISSING_SLICE if missing else Reason.UNEVEN_SPACING
        raise ScanError(code, f"slice gap {gaps[at]:.4g} mm at position {at}, expected {usual:.4g} mm")
    _require_straight(frames, tolerance)


def require_together(frames: Sequence[FrameFacts]) -> None:
    """Check that the slices read are still those of one volume, as they were when they were grouped.

    Each was within the tolerances of one of them, so that two may differ by twice as much.

    Raises:
        ScanError: CHANGED_FILE if they are not.
    """
    turned = np.ptp(np.array([frame.orientation for frame in frames]), axis=0).max()
    sizes = np.array([frame.spacing for frame in frames])
    resized = (np.ptp(sizes, axis=0) / sizes.min(axis=0)).max()
    if (
        len({frame.key for frame in frames}) > 1
        or turned > 2.1 * DIRECTION_TOLERANCE
        or resized > 2.1 * SPACING_TOLERANCE
    ):
        raise ScanError(Reason.CHANGED_FILE, "a slice changed after the scan and lies in no volume with the others")


def usual_step(gaps: Array) -> tuple[float, float]:
    """The usual step of a stack and by how much a step may differ from it, both in mm.

    Args:
        gaps: Steps along the normal in mm, one at least.
    """
    usual = statistics.median_low(gaps.tolist())
    return usual, max(STEP_TOLERANCE_MM, STEP_TOLERANCE * usual)


def sideways(frames: Sequence[FrameFacts]) -> Array:
    """How far each step lies off the mean step in mm, shape (K - 1,).

    Args:
        frames: At least two, in order along the normal, each with a position.
    """
    positions = np.array([frame.position for frame in frames])
    mean = (positions[-1] - positions[0]) / (len(frames) - 1)
    aside: Array = np.linalg.norm(np.diff(positions, axis=0) - mean, axis=1)
    return aside


def out_of_place(frames: Sequence[FrameFacts]) -> Array:
    """How far each frame lies from where even steps from the first to the last would put it, in mm, shape (K,).

    Args:
        frames: At least two, in order along the normal, each with a position.
    """
    positions = np.array([frame.position for frame in frames])
    even = np.linspace(positions[0], positions[-1], len(frames))
    off: Array = np.linalg.norm(positions - even, axis=1)
    return off


def affine_of(frames: Sequence[FrameFacts]) -> Array:
    """Voxel index (i along the row, j down the columns, k along the normal) to RAS+ mm, shape (4, 4).

    A single image takes its third step from Spacing Between Slices, else Slice Thickness, else 1 mm.

    Args:
        frames: Evenly spaced, in order along the normal.

    Source:
        DICOM PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1.
    """
    first, last = frames[0], frames[-1]
    _require_place(first)
    row, column = _directions(first)
    between_rows, between_columns = np.array(first.spacing)
    affine = np.eye(4)
    affine[:3, 0] = row * between_columns
    affine[:3, 1] = column * between_rows
    if len(frames) > 1:
        affine[:3, 2] = (np.array(last.position) - np.array(first.position)) / (len(frames) - 1)
    else:
        affine[:3, 2] = _normal(first) * first.depth
    affine[:3, 3] = first.position
    return LPS_TO_RAS @ affine


def _normal(frame: FrameFacts) -> Array:
    row, column = _directions(frame)
    return np.cross(row, column)


def _directions(frame: FrameFacts) -> Array:
    """Direction of rows and of columns, brought to length 1 since cosines are stored rounded; shape (2, 3)."""
    directions = np.array(frame.orientation, dtype=np.float64).reshape(2, 3)
    return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))


def _require_place(frame: FrameFacts) -> None:
    if frame.position is None or frame.orientation is None:
        raise ScanError(
            Reason.NO_POSITION, "no Image Position and Orientation (Patient), without which slices have no place"
        )
    if frame.spacing is None or min(frame.spacing) <= 0:
        raise ScanError(Reason.UNSUPPORTED_GEOMETRY, "no positive Pixel Spacing")
    row, column = np.array(frame.orientation).reshape(2, 3)
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    if (np.abs(lengths - 1) > UNIT_TOLERANCE).any() or abs(row @ column) > UNIT_TOLERANCE:
        raise ScanError(
            Reason.UNSUPPORTED_GEOMETRY, "Image Orientation (Patient) is not two unit vectors at right angles"
        )


def _require_straight(frames: Sequence[FrameFacts], tolerance: float) -> None:
    """Check that no step goes sideways more than the others do, and that small differences do not add up."""
    for at, aside in enumerate(sideways(frames).tolist()):
        if aside > SIDEWAYS_STEPS * tolerance:
            raise ScanError(Reason.UNEVEN_SPACING, f"slice {at + 1} lies {aside:.4g} mm beside the line of the others")
    off = out_of_place(frames)
    if off.max() > SIDEWAYS_STEPS * tolerance:
        at = int(off.argmax())
        raise ScanError(
            Reason.UNEVEN_SPACING,
            f"slice {at} lies {off[at]:.4g} mm from where even steps would put it; the steps drift",
        )
