"""How a DICOM file lays out its stored pixels: all that decoding needs, and nothing of the patient."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from pipeline.ingest.dicom_file import Header
from pipeline.ingest.frames import frame_count
from pipeline.ingest.syntaxes import NATIVE

Stored = npt.NDArray[Any]
BIG_ENDIAN = "1.2.840.10008.1.2.2"


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """The Image Pixel module without its pixels.

    Attributes:
        syntax: Transfer Syntax UID.
        frames, rows, columns, samples: Shape; samples are 1, or 3 for colour.
        allocated, stored, high: Bits Allocated, Bits Stored, High Bit.
        signed: Whether Pixel Representation says two's complement.
        photometric: Photometric Interpretation.
        planar: Planar Configuration.
        vr: Value Representation of the pixel data, OB or OW; empty where the encoding is implicit.

    Source:
        DICOM PS3.3 C.7.6.3.
    """

    syntax: str
    frames: int
    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    high: int
    signed: bool
    photometric: str
    planar: int
    vr: str = ""

    @property
    def frame_bytes(self) -> int:
        """Bytes of one uncompressed frame, with 422 colour counted as if it were full."""
        return self.rows * self.columns * self.samples * -(-self.allocated // 8)

    @property
    def native(self) -> bool:
        """Whether the pixels are uncompressed."""
        return self.syntax in NATIVE

    @property
    def plain(self) -> bool:
        """Whether the pixels are little-endian whole bytes of one sample, which need no decoder."""
        return self.native and self.samples == 1 and self.allocated in (8, 16, 32, 64) and self.syntax != BIG_ENDIAN

    def dataset(self, pixels: bytes, frames: int) -> Dataset:
        """A data set of the Image Pixel module alone, for pydicom's decoders.

        Args:
            pixels: Value of Pixel Data, encapsulated where the syntax is compressed.
            frames: Number of frames in it.
        """
        dataset = Dataset()
        dataset.SamplesPerPixel = self.samples
        dataset.PhotometricInterpretation = self.photometric
        dataset.Rows, dataset.Columns, dataset.NumberOfFrames = self.rows, self.columns, frames
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = self.allocated, self.stored, self.high
        dataset.PixelRepresentation = int(self.signed)
        if self.samples > 1:
            dataset.PlanarConfiguration = self.planar
        dataset.PixelData = pixels
        dataset["PixelData"].VR = "OB" if not self.native else self.vr or "OW"
        dataset["PixelData"].is_undefined_length = not self.native
        dataset.set_original_encoding(False, self.syntax != BIG_ENDIAN)
        return dataset


def pixel_layout(header: Header, syntax: str, vr: str) -> PixelLayout:
    """The layout that a header declares; its numbers were checked when the file was examined.

    Args:
        header: The data set before the pixel data.
        syntax: Transfer Syntax UID.
        vr: Value Representation of the pixel data; empty where the encoding is implicit.
    """
    allocated = int(header.get("BitsAllocated") or 8)
    stored = int(header.get("BitsStored") or allocated)
    return PixelLayout(
        syntax=syntax,
        frames=frame_count(header),
        rows=int(header.get("Rows") or 0),
        columns=int(header.get("Columns") or 0),
        samples=int(header.get("SamplesPerPixel") or 1),
        allocated=allocated,
        stored=stored,
        high=int(header.get("HighBit") or stored - 1),
        signed=header.get("PixelRepresentation") == 1,
        photometric=str(header.get("PhotometricInterpretation") or "MONOCHROME2"),
        planar=int(header.get("PlanarConfiguration") or 0),
        vr=vr,
    )


def extend(pixels: Stored, layout: PixelLayout) -> Stored:
    """Cut pixels to their Bits Stored below High Bit, and extend the sign of signed ones.

    Args:
        pixels: Unsigned integers of Bits Allocated bits.
        layout: What the header says of them.
    """
    above = layout.allocated - 1 - layout.high
    signed = f"<i{layout.allocated // 8}"
    if layout.stored == layout.allocated:
        return np.asarray(pixels.view(signed)) if layout.signed else pixels
    if not layout.signed and above == layout.allocated - layout.stored:
        return np.bitwise_and(pixels, (1 << layout.stored) - 1)
    shifted = np.left_shift(pixels, above, dtype=pixels.dtype)
    if layout.signed:
        shifted = shifted.view(signed)
    return np.right_shift(shifted, layout.allocated - layout.stored)
