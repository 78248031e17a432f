"""Uncompressed pixel data: cut to its length, unused bits cleared, rectangles blackened."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from pipeline.deidentify.options import Rectangle
from pipeline.errors import Reason, ScanError


@dataclass(frozen=True, slots=True)
class Layout:
    """How the stored values of an image lie in its bytes.

    Attributes:
        rows, columns, frames, samples: Of the image.
        allocated, stored, high: Bits Allocated, Bits Stored, High Bit.
        signed: Whether stored values are two's complement.
        planar: Whether each sample has a plane of its own.
        subsampled: Whether two pixels share their colour (YBR_FULL_422).
    """

    rows: int
    columns: int
    frames: int
    samples: int
    allocated: int
    stored: int
    high: int
    signed: bool
    planar: bool
    subsampled: bool

    @property
    def plane(self) -> int:
        """Bytes that one byte of every pixel of a frame takes; bits of single-bit pixels are packed."""
        pixels = self.rows * self.columns
        return math.ceil(pixels / 8) if self.allocated == 1 else pixels

    @property
    def length(self) -> int:
        """Bytes of all frames, without padding."""
        bits = self.rows * self.columns * self.frames * self.samples * self.allocated
        return math.ceil((bits * 2 // 3 if self.subsampled else bits) / 8)


def layout_of(dataset: Dataset) -> Layout:
    """The layout that a header declares.

    Raises:
        ScanError: CORRUPT_HEADER where it is incomplete or impossible.
    """
    allocated = int(dataset.get("BitsAllocated") or 0)
    stored = int(dataset.get("BitsStored") or allocated)
    high = dataset.get("HighBit")
    layout = Layout(
        rows=int(dataset.get("Rows") or 0),
        columns=int(dataset.get("Columns") or 0),
        frames=int(dataset.get("NumberOfFrames") or 1),
        samples=int(dataset.get("SamplesPerPixel") or 1),
        allocated=allocated,
        stored=stored,
        high=stored - 1 if high is None else int(high),
        signed=dataset.get("PixelRepresentation") == 1,
        planar=dataset.get("PlanarConfiguration") == 1,
        subsampled=str(dataset.get("PhotometricInterpretation")) == "YBR_FULL_422",
    )
    bits_fit = 0 < stored <= allocated and stored - 1 <= layout.high < allocated
    if allocated not in (1, 8, 16, 32, 64) or not bits_fit or layout.length <= 0:
        raise ScanError(Reason.CORRUPT_HEADER, "rows, columns or bits of the image are missing or impossible")
    return layout


def clean_native(raw: bytes, layout: Layout, *, little_endian: bool, masks: Sequence[Rectangle] = ()) -> bytes:
    """Pixel data as little endian bytes without what is no pixel.

    Args:
        raw: The value of the pixel data element.
        layout: As the header says.
        little_endian: Byte order of `raw`.
        masks: Blackened (stored value 0) in every frame.

    Raises:
        ScanError: TRUNCATED_PIXELS if it is too short; BURNED_IN if a rectangle cannot be blackened.
    """
    if len(raw) < layout.length:
        raise ScanError(Reason.TRUNCATED_PIXELS, f"{len(raw)} bytes of pixels, {layout.length} are needed")
    size = max(1, layout.allocated // 8)
    if little_endian or size == 1:
        values = np.frombuffer(raw, f"<u{size}", layout.length // size).copy()
    else:
        values = np.frombuffer(raw, f">u{size}", layout.length // size).astype(f"<u{size}")
    if layout.allocated > 1 and layout.stored < layout.allocated:
        _clear_unused(values, layout)
    for rectangle in masks:
        _blacken(values, layout, rectangle)
    pixels = values.tobytes()
    return pixels + b"\0" * (len(pixels) % 2)


def _clear_unused(values: npt.NDArray[Any], layout: Layout) -> None:
    """Clear the bits below and above the stored ones, where overlays can hide; signs are carried on upwards."""
    low = layout.high + 1 - layout.stored
    kept = ((1 << layout.stored) - 1) << low
    if not layout.signed:
        values &= values.dtype.type(kept)
        return
    above = layout.allocated - 1 - layout.high
    view = values.view(f"<i{values.itemsize}")
    view <<= above
    view >>= above
    values &= values.dtype.type((1 << layout.allocated) - (1 << low))


def _blacken(values: npt.NDArray[Any], layout: Layout, rectangle: Rectangle) -> None:
    bottom, right = rectangle.top + rectangle.height, rectangle.left + rectangle.width
    if bottom > layout.rows or right > layout.columns:
        raise ScanError(
            Reason.BURNED_IN, f"a mask reaches beyond the image of {layout.rows} rows and {layout.columns} columns"
        )
    if layout.subsampled or layout.allocated == 1:
        raise ScanError(Reason.BURNED_IN, "a mask needs whole bytes per pixel; export the image as RGB or 8 bit")
    window = np.s_[rectangle.top : bottom, rectangle.left : right]
    if layout.planar and layout.samples > 1:
        image = values.reshape(layout.frames, layout.samples, layout.rows, layout.columns)
        image[(slice(None), slice(None), *window)] = 0
    else:
        image = values.reshape(layout.frames, layout.rows, layout.columns, layout.samples)
        image[(slice(None), *window)] = 0
