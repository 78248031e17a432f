"""Headers that place no slice: missing, impossible or no number."""

from pathlib import Path

from tests.pipeline.ingest.truth.case import Expected, case, refuse
from tests.pipeline.ingest.truth.dicom import Stack, numbers


@case(row=22, variants={"position": "ImagePositionPatient", "orientation": "ImageOrientationPatient"})
def no_place(folder: Path, keyword: str) -> Expected:
    """CT without Image Position or Orientation (Patient), both type 1 (PS3.3 C.7.6.2): refused."""

    def change(made, k):
        delattr(made, keyword)

    Stack().write(folder, change)
    return refuse("NO_POSITION")


@case()
def one_slice_without_a_place(folder: Path) -> Expected:
    """One slice of the series has no position: the whole series is refused, since its place would be a gap."""

    def change(made, k):
        if k == 7:
            del made.ImagePositionPatient

    Stack().write(folder, change)
    return refuse("NO_POSITION")


@case(variants={"nan": "nan", "infinite": "inf", "word": "abc", "comma": "1,5", "two_values": None})
def position_is_no_number(folder: Path, value: str | None) -> Expected:
    """A position that is no finite number, or has two values for three: refused."""

    def change(made, k):
        made.ImagePositionPatient = [1.0, 1.0] if value is None else ["0", "0", "7777"]

    Stack(stored=numbers((1, 6, 5))).write(folder, change)
    path = folder / "0_0.dcm"
    if value:
        path.write_bytes(path.read_bytes().replace(b"0\\0\\7777", b"0\\0\\" + value.ljust(4).encode()))
    return refuse("CORRUPT_HEADER")


@case(
    variants={
        "parallel": [1, 0, 0, 1, 0, 0],
        "skewed": [1, 0, 0, 0.1, 0.995, 0],
        "too_long": [2, 0, 0, 0, 1, 0],
        "zero": [0, 0, 0, 0, 0, 0],
    }
)
def orientation_is_no_rotation(folder: Path, values: list[float]) -> Expected:
    """Rows and columns must be unit vectors at right angles (PS3.3 C.7.6.2.1.1): refused otherwise."""
    Stack(tags={"ImageOrientationPatient": values}).write(folder)
    return refuse("UNSUPPORTED_GEOMETRY")


@case(variants={"zero": [0, 0.7], "negative": [0.8, -0.7]})
def pixel_spacing_is_not_positive(folder: Path, values: list[float]) -> Expected:
    """Pixel Spacing must be positive (PS3.3 10.7.1.3): refused otherwise."""
    Stack(tags={"PixelSpacing": values}).write(folder)
    return refuse("UNSUPPORTED_GEOMETRY")


@case()
def no_pixel_spacing(folder: Path) -> Expected:
    """CT without Pixel Spacing has no size: refused."""

    def change(made, k):
        del made.PixelSpacing

    Stack().write(folder, change)
    return refuse("UNSUPPORTED_GEOMETRY")
