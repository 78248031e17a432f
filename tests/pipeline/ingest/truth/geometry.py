"""Plain series whose geometry is peculiar: direction, order, tilt, gaps, spacing."""

from pathlib import Path

import numpy as np

from tests.pipeline.ingest.truth.case import HIGHDICOM, MONAI, SITK, Expected, case, read, refuse
from tests.pipeline.ingest.truth.dicom import Stack, numbers, save

BOTH = (HIGHDICOM, SITK)
C, S = np.cos(0.4), np.sin(0.4)


def turned(row: tuple[float, ...], column: tuple[float, ...], **more: object) -> Stack:
    """A stack along the normal of a direction."""
    return Stack(row=row, column=column, step=tuple(2.5 * np.cross(row, column)), **more)


@case(row=1)
def plain(folder: Path) -> Expected:
    """A plain axial CT is stacked along the normal; affine from positions (PS3.3 C.7.6.2.1.1)."""
    Stack().write(folder / "a" / "b")
    return read(Stack().truth(), proof=BOTH)


@case(
    row=2,
    variants={
        "oblique": ((C, S, 0.0), (0.0, 0.0, -1.0)),
        "double_oblique": ((0.8, 0.36, 0.48), (-0.6, 0.48, 0.64)),
        "coronal": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
        "sagittal": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
        "feet_first": ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
        "face_down": ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
    },
)
def direction(folder: Path, row: tuple[float, ...], column: tuple[float, ...]) -> Expected:
    """Any direction of rows and columns is kept in the affine (PS3.3 C.7.6.2.1.1); rows 2 and 4 of the matrix."""
    turned(row, column).write(folder)
    return read(turned(row, column).truth(), proof=BOTH)


@case(row=3)
def instance_numbers_against_position(folder: Path) -> Expected:
    """Slices are ordered by position; Instance Number and Slice Location do not count (PS3.3 C.7.6.1.1.1)."""

    def change(made, k):
        made.InstanceNumber, made.SliceLocation = 8 - k, -k

    Stack().write(folder, change)
    return read(Stack().truth(), proof=BOTH)


@case()
def positions_against_the_normal(folder: Path) -> Expected:
    """Written head to feet: the volume still runs along the normal, feet to head."""
    down = Stack(step=(0, 0, -2.5))
    down.write(folder)
    up = Stack(first=(-100.0, -90.0, 40.0 - 7 * 2.5))
    return read(up.truth(down.stored[::-1].astype(float) - 1024), proof=BOTH)


@case(row=8, variants={"plain": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.6, 2.4)),
                       "oblique": ((C, S, 0.0), (-S, C, 0.0), (0.3, 0.5, 2.4))})  # fmt: skip
def gantry_tilt(folder: Path, row, column, step) -> Expected:
    """Positions that run aside shear the affine; nothing is resampled (PS3.3 C.8.2.1, Gantry/Detector Tilt)."""
    tilted = Stack(row=row, column=column, step=step)
    tilted.write(folder)
    return read(tilted.truth(), proof=(MONAI,))


@case(row=24, variants={"thicker": 5, "thinner": 0.5, "absent": "", "zero": 0})
def slice_thickness_is_not_the_step(folder: Path, thickness) -> Expected:
    """The step is the distance of positions, never Slice Thickness (PS3.3 C.7.6.2.1.1)."""
    stack = Stack(tags={"SliceThickness": thickness})
    stack.write(folder)
    return read(stack.truth(), proof=BOTH)


@case(variants={"negative": -2.5, "wrong": 7.0})
def spacing_between_slices_is_not_the_step(folder: Path, spacing: float) -> Expected:
    """Positions win over Spacing Between Slices, negative or wrong (PS3.3 C.7.6.2.1.1)."""
    stack = Stack(tags={"SpacingBetweenSlices": spacing})
    stack.write(folder)
    return read(stack.truth(), proof=(SITK,))


@case(row=26)
def jitter_of_four_micrometres(folder: Path) -> Expected:
    """Positions are stored rounded: steps may differ by 0.025 mm or 1 %, whichever is more."""
    aside = np.random.default_rng(0).uniform(-0.004, 0.004, 8)
    aside[[0, -1]] = 0

    def change(made, k):
        made.ImagePositionPatient = [-100.0, -90.0, round(40 + 2.5 * k + aside[k], 6)]

    Stack().write(folder, change)
    return read(Stack().truth(), proof=BOTH)


def moved(folder: Path, by: float, axis: int = 2, at: int = 4) -> None:
    """A stack with one slice out of place."""

    def change(made, k):
        if k == at:
            made.ImagePositionPatient[axis] = made.ImagePositionPatient[axis] + by

    Stack().write(folder, change)


@case(variants={"20_micrometres": 0.02, "24_micrometres": 0.024})
def jitter_below_the_tolerance(folder: Path, by: float) -> Expected:
    """One slice out of place by less than the tolerance of 0.025 mm is rounding."""
    moved(folder, by)
    return read(Stack().truth(), proof=(SITK,))


@case(row=7, variants={"3_percent": (0.075, 2), "at_the_end": (0.7, 2, 7), "aside": (3.0, 0)})
def uneven_spacing(folder: Path, by: float, axis: int, at: int = 4) -> Expected:
    """A slice out of place makes every slice's place doubtful: refused, not averaged away."""
    moved(folder, by, axis, at)
    return refuse("UNEVEN_SPACING")


@case()
def steps_that_drift(folder: Path) -> Expected:
    """Each step is within the tolerance, yet even spacing would put the middle 0.2 mm off: refused."""
    stack = Stack(stored=numbers((41, 4, 4)))

    def change(made, k):
        made.ImagePositionPatient = [-100.0, -90.0, 40 + 2.49 * min(k, 20) + 2.51 * max(k - 20, 0)]

    stack.write(folder, change)
    return refuse("UNEVEN_SPACING")


@case(row=6, variants={"one": (4,), "two_neighbours": (3, 4), "two_apart": (2, 5), "second": (1,)})
def missing_slice(folder: Path, *lost: int) -> Expected:
    """A gap of whole steps is a missing slice: refused, since a stack of what is left has wrong places."""
    Stack().write(folder, leave_out=lost)
    return refuse("MISSING_SLICE")


@case(variants={"first": (0,), "last": (7,)})
def outermost_slice_is_missing(folder: Path, lost: int) -> Expected:
    """What is left is even, and nothing in a header says how many slices there were: it is read, at its place."""
    Stack().write(folder, leave_out=[lost])
    whole = Stack()
    start = 1 if lost == 0 else 0
    left = Stack(stored=whole.stored[start : start + 7], first=whole.place(start))
    return read(left.truth(), proof=BOTH)


@case(variants={"one": 1, "two": 2})
def few_slices(folder: Path, count: int) -> Expected:
    """A single slice takes its third step from Slice Thickness; two have one of their own."""
    few = Stack(stored=numbers((count, 6, 5)))
    few.write(folder)
    few.step = (0, 0, 5 if count == 1 else 2.5)
    return read(few.truth(), proof=() if count == 1 else BOTH)


@case()
def orientation_is_rounded(folder: Path) -> Expected:
    """Direction cosines rounded to two digits are brought to length 1: lengths come from Pixel Spacing alone."""
    Stack(tags={"ImageOrientationPatient": [0.71, 0.71, 0, -0.71, 0.71, 0]}).write(folder)
    half = np.sqrt(0.5)
    return read(Stack(row=(half, half, 0), column=(-half, half, 0)).truth(), proof=())


@case(variants={"wide": [0.5, 2.0], "tall": [3.0, 0.25]})
def pixels_are_not_square(folder: Path, values: list[float]) -> Expected:
    """Pixel Spacing is row spacing, then column spacing (PS3.3 10.7.1.3)."""
    stack = Stack(tags={"PixelSpacing": values})
    stack.write(folder)
    return read(stack.truth(), proof=BOTH)


@case()
def decimal_strings_with_blanks(folder: Path) -> Expected:
    """A decimal string may be padded with blanks and use an exponent (PS3.5 6.2)."""
    stack = Stack(stored=numbers((1, 6, 5)), first=(-100.0, -90.0, 77.0), step=(0, 0, 5))
    path = save(stack.dataset(0, ImagePositionPatient=["-1.0E+02", "-9.00e1", "+77.0"]), folder / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"-1.0E+02\\-9.00e1\\+77.0", b" -100.00\\ -90.0 \\ 77.0 "[:22]))
    return read(stack.truth(), proof=())
