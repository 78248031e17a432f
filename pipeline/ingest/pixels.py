"""Stored pixels to float32 values: Modality LUT, palette, polarity and display window of radiographs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels.processing import apply_color_lut

from pipeline.errors import Reason, ScanError
from pipeline.ingest.decoders import Stored
from pipeline.ingest.frames import FrameHeader
from pipeline.ingest.lookup_table import look_up

EXACT_IN_FLOAT32 = 2**24

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Polarity:
    """How a MONOCHROME1 radiograph is turned: `value -> total - value`.

    Attributes:
        total: The sum of a value and its mirror image, in units of the Modality LUT's output.
    """

    total: float


def intensities(stored: Stored, header: FrameHeader) -> Values:
    """The Modality LUT's output: per frame, never with a window, never inverted.

    Source:
        DICOM PS3.3 C.11.1, Modality LUT Module.
    """
    table = header.get("ModalityLUTSequence")
    if table:
        signed = header.get("PixelRepresentation") == 1
        return look_up(stored, table[0], signed=signed, little_endian=header.little_endian)
    slope, intercept = header.rescale()
    if slope == 1 and intercept == 0:
        return stored.astype(np.float32)
    whole = slope.is_integer() and intercept.is_integer() and stored.dtype.itemsize <= 2
    if whole and abs(slope) * 2**16 + abs(intercept) < EXACT_IN_FLOAT32:
        scaled: Values = stored.astype(np.float32) * np.float32(slope)
        return scaled + np.float32(intercept)
    return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


def polarity(header: FrameHeader) -> Polarity | None:
    """How a radiograph must be turned so that large is bright; None where it is as it should be.

    Stored values s become (2^BitsStored - 1) - s, or -1 - s where they are signed, before the rescale. Behind a
    Modality LUT Sequence the table's own range is mirrored. Presentation LUT Shape INVERSE says the same as
    MONOCHROME1, so it adds nothing.
    """
    if str(header.get("PhotometricInterpretation")) != "MONOCHROME1":
        return None
    table = header.get("ModalityLUTSequence")
    if table:
        return Polarity(float(2 ** int(table[0].LUTDescriptor[2]) - 1))
    slope, intercept = header.rescale()
    bits = int(header.get("BitsStored") or header.get("BitsAllocated"))
    top = -1 if header.get("PixelRepresentation") == 1 else 2**bits - 1
    return Polarity(slope * top + 2 * intercept)


def display_window(header: FrameHeader, turned: Polarity | None) -> tuple[float, float] | None:
    """Lowest and highest value that the header's window shows, in units of the turned values.

    The first window counts; SIGMOID is taken by its linear range; without a window, the input range of the
    VOI LUT Sequence counts. None where there is neither, or it is empty.

    Source:
        DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3.
    """
    shown = _window(header) or _table_range(header)
    if shown is None or not shown[0] < shown[1]:
        return None
    if turned is None:
        return shown
    return (turned.total - shown[1], turned.total - shown[0])


def _window(header: FrameHeader) -> tuple[float, float] | None:
    centre = header.number("WindowCenter", "FrameVOILUTSequence")
    width = header.number("WindowWidth", "FrameVOILUTSequence")
    if centre is None or width is None:
        return None
    function = str(header.get("VOILUTFunction", "FrameVOILUTSequence") or "LINEAR")
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    return (centre - width / 2, centre + width / 2)


def _table_range(header: FrameHeader) -> tuple[float, float] | None:
    table = header.get("VOILUTSequence")
    if not table or table[0].get("LUTDescriptor") is None:
        return None
    entries, first = (int(value) for value in table[0].LUTDescriptor[:2])
    if first >= 2**15 and header.get("PixelRepresentation") == 1:
        first -= 2**16
    return (float(first), float(first + (entries or 2**16) - 1))


def colours(stored: Stored, dataset: pydicom.Dataset) -> Values:
    """Red, green and blue in 0..255, shape (rows, columns, 3).

    Raises:
        ScanError: UNSUPPORTED_COLOUR if a palette has no table.
    """
    bits = int(dataset.BitsStored)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        if "RedPaletteColorLookupTableDescriptor" not in dataset:
            raise ScanError(Reason.UNSUPPORTED_COLOUR, "PALETTE COLOR without its tables")
        stored = apply_color_lut(stored, dataset)[..., :3]
        bits = 8 * stored.dtype.itemsize
    if bits == 8:
        return stored.astype(np.float32)
    eight: Values = (stored.astype(np.float64) * (255 / (2**bits - 1))).astype(np.float32)
    return eight


def one_intensity(voxels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Colour whose three channels are equal as one channel; all else unchanged."""
    if voxels.ndim == 4 and (voxels == voxels[..., :1]).all():
        return np.ascontiguousarray(voxels[..., 0])
    return voxels
