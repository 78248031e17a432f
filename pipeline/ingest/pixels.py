"""Stored pixels to float32 values: Modality LUT, palette, polarity and display window of radiographs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels.processing import apply_color_lut

from pipeline.errors import Reason, ScanError
from pipeline.ingest.decoders import Stored
from pipeline.ingest.dicom_file import Header
from pipeline.ingest.frames import FrameHeader
from pipeline.ingest.lookup_table import look_up

EXACT_IN_FLOAT32 = 2**24
IMAGE_GROUP = 0x0028

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Polarity:
    """How a MONOCHROME1 radiograph is turned: `value -> total - value`.

    Attributes:
        total: The sum of a value and its mirror image, in units of the Modality LUT's output.
    """

    total: float


def write_intensities(stored: Stored, header: FrameHeader, out: Values) -> None:
    """Write the Modality LUT's output: per frame, never with a window, never inverted.

    Args:
        stored: Stored values, shape (rows, columns).
        header: Of the frame.
        out: Where the values go, same shape.

    Raises:
        ScanError: CORRUPT_HEADER if a table is shorter than it says, NOT_FINITE if the values leave float32.

    Source:
        DICOM PS3.3 C.11.1, Modality LUT Module.
    """
    table = header.get("ModalityLUTSequence")
    if table:
        signed = header.get("PixelRepresentation") == 1
        out[...] = look_up(stored, table[0], signed=signed, little_endian=header.little_endian)
        return
    slope, intercept = header.rescale()
    largest = abs(slope) * 2.0 ** (8 * stored.dtype.itemsize) + abs(intercept)
    if largest > np.finfo(np.float32).max:
        raise ScanError(Reason.NOT_FINITE, "the rescale takes values beyond what float32 can hold")
    if not (slope.is_integer() and intercept.is_integer() and largest < EXACT_IN_FLOAT32):
        out[...] = stored.astype(np.float64) * slope + intercept
    elif slope == 1:
        np.add(stored, np.float32(intercept), out=out, dtype=np.float32, casting="unsafe")
    else:
        np.multiply(stored, np.float32(slope), out=out, dtype=np.float32, casting="unsafe")
        out += np.float32(intercept)


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


def colours(stored: Stored, header: Header) -> Values:
    """Red, green and blue in 0..255, shape (rows, columns, 3).

    Raises:
        ScanError: UNSUPPORTED_COLOUR if a palette has no table.
    """
    bits = int(header.get("BitsStored") or 8)
    if header.get("PhotometricInterpretation") == "PALETTE COLOR":
        if not isinstance(header, pydicom.Dataset) or "RedPaletteColorLookupTableDescriptor" not in header:
            raise ScanError(Reason.UNSUPPORTED_COLOUR, "PALETTE COLOR without its tables")
        stored = apply_color_lut(stored, _little_endian_palette(header))[..., :3]
        bits = 8 * stored.dtype.itemsize
    if bits == 8:
        return stored.astype(np.float32)
    eight: Values = (stored.astype(np.float64) * (255 / (2**bits - 1))).astype(np.float32)
    return eight


def _little_endian_palette(header: pydicom.Dataset) -> pydicom.Dataset:
    """The header with its tables in the byte order that pydicom takes them for, whatever the file's."""
    if header.original_encoding[1] is not False:
        return header
    swapped = pydicom.Dataset()
    swapped.file_meta = pydicom.dataset.FileMetaDataset()
    swapped.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    for element in header.group_dataset(IMAGE_GROUP):
        swapped[element.tag] = element
    for kind in ("", "Segmented"):
        for colour in ("Red", "Green", "Blue"):
            keyword = f"{kind}{colour}PaletteColorLookupTableData"
            table = header.get(keyword)
            if isinstance(table, bytes):
                little = np.frombuffer(table, "u2").byteswap().tobytes()
                swapped[keyword] = pydicom.DataElement(header[keyword].tag, "OW", little)
    return swapped


def one_intensity(voxels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Colour whose three channels are equal as one channel; all else unchanged."""
    if voxels.ndim == 4 and (voxels == voxels[..., :1]).all():
        return np.ascontiguousarray(voxels[..., 0])
    return voxels
