"""Files cut short, stripped or too small: refused with their series, since what is left may look whole."""

from pathlib import Path

import numpy as np

from tests.pipeline.ingest.truth.case import Expected, Truth, case, read, refuse
from tests.pipeline.ingest.truth.dicom import Stack, image, numbers, save, single


def cut(folder: Path, bytes_left_out: int, at: int = 7) -> None:
    """A stack with one file cut."""
    Stack().write(folder)
    (path,) = folder.glob(f"*_{at}.dcm")
    path.write_bytes(path.read_bytes()[:-bytes_left_out])


@case(row=20, variants={"one_byte": 1, "half": 30, "all_but_one": 59})
def cut_within_the_pixels(folder: Path, lost: int) -> Expected:
    """A file that ends inside its pixels refuses the series: without the slice an even stack may be left."""
    cut(folder, lost)
    return refuse("TRUNCATED_PIXELS")


@case(variants={"behind_the_pixel_element": 60, "before_the_pixel_element": 80})
def cut_before_the_pixels(folder: Path, lost: int) -> Expected:
    """A file that ends before its pixels still names its series, which is refused with it."""
    cut(folder, lost)
    return refuse("TRUNCATED_PIXELS" if lost == 60 else "NO_PIXELS")


@case()
def cut_within_the_header(folder: Path) -> Expected:
    """Cut before it names its series: the file has a row of its own, and the gap it leaves refuses the series."""
    Stack().write(folder)
    (path,) = folder.glob("*_3.dcm")
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"1.2.840.10008.5.1.4.1.1.2", 200) + 30])
    return read(refused="MISSING_SLICE NO_PIXELS")


@case(variants={"by_half": 0.5, "empty": 0.0})
def pixel_data_shorter_than_declared(folder: Path, share: float) -> Expected:
    """Pixel Data with fewer bytes than rows, columns and bits ask for: refused."""

    def change(made, k):
        if k == 2:
            made.PixelData = made.PixelData[: int(60 * share)]

    Stack().write(folder, change)
    return refuse("TRUNCATED_PIXELS")


@case()
def pixel_data_removed(folder: Path) -> Expected:
    """An image whose pixel data was stripped refuses its series."""

    def change(made, k):
        if k == 2:
            del made.PixelData

    Stack().write(folder, change)
    return refuse("NO_PIXELS")


@case()
def one_frame_less_than_declared(folder: Path) -> Expected:
    """Number of Frames 4, pixels of 3: refused."""
    made = single("US", "3.1", image(numbers((3, 6, 8), 256), 8, 8), NumberOfFrames=4)
    save(made, folder / "a.dcm")
    return refuse("TRUNCATED_PIXELS")


@case()
def one_frame_more_than_declared(folder: Path) -> Expected:
    """Number of Frames 3, pixels of 4: the frames declared are read."""
    stored = numbers((4, 6, 8), 256)
    save(single("US", "3.1", image(stored, 8, 8), NumberOfFrames=3), folder / "a.dcm")
    return read(Truth(stored[:3].transpose(2, 1, 0), None, "US"))


@case()
def damaged_copy_of_a_sound_slice(folder: Path) -> Expected:
    """A cut copy of a slice that is there whole spoils nothing, and is told."""
    Stack().write(folder)
    whole = save(Stack().dataset(4), folder / "z.dcm")
    whole.write_bytes(whole.read_bytes()[:-10])
    return read(Stack().truth(), refused="TRUNCATED_PIXELS")


@case()
def single_bits_cut(folder: Path) -> Expected:
    """Bits packed eight to a byte: the last byte is missing."""
    stored = np.ones((3, 3, 7), dtype=int)
    module = image(stored, 8, 1)
    module.update(BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=bytes(6))
    save(single("SC", "7.1", module), folder / "a.dcm")
    return refuse("TRUNCATED_PIXELS")
