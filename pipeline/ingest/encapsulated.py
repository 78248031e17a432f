"""Compressed pixel data before decoding: are all fragments there, and what size do the codestreams declare?"""

import math
import struct
from collections.abc import Iterator
from typing import BinaryIO

from pydicom import uid

from pipeline.errors import Reason, ScanError
from pipeline.ingest.dicom_file import DicomFile

ITEM = (0xFFFE, 0xE000)
DELIMITER = (0xFFFE, 0xE0DD)
RLE_BEST_RATIO = 64  # two bytes stand for 128 at most
J2K_START = b"\xff\x4f\xff\x51"
JP2_BOX = b"jP  "  # a codestream in a file wrapper, against the standard
NOT_SIZES = frozenset({0xC4, 0xC8, 0xCC})
SIZES = frozenset(range(0xC0, 0xD0)) - NOT_SIZES | {0xF7}  # SOF0..15 of JPEG, SOF55 of JPEG-LS


def require_whole(file: DicomFile, shape: tuple[int, ...]) -> None:
    """Check that the fragments of encapsulated pixel data are complete and enough for all frames.

    Args:
        file: The open file.
        shape: (columns, rows, frames).

    Raises:
        ScanError: TRUNCATED_PIXELS or CORRUPT_FILE.
    """
    if file.pixels is None or file.pixels.length is not None:
        raise ScanError(Reason.CORRUPT_FILE, "compressed pixel data of defined length, expected fragments")
    file.stream.seek(file.pixels.offset)
    lengths = list(_fragment_lengths(file.stream, file.pixels.available))[1:]
    if len(lengths) < shape[2]:
        raise ScanError(Reason.TRUNCATED_PIXELS, f"{len(lengths)} fragments for {shape[2]} frames")
    bits = int(file.dataset.get("BitsAllocated", 8)) * int(file.dataset.get("SamplesPerPixel", 1))
    if file.syntax == uid.RLELossless and math.prod(shape) * bits // 8 > RLE_BEST_RATIO * sum(lengths):
        raise ScanError(
            Reason.TRUNCATED_PIXELS, f"{sum(lengths)} bytes of RLE cannot hold {shape[0]}x{shape[1]}x{shape[2]} pixels"
        )


def _fragment_lengths(stream: BinaryIO, available: int) -> Iterator[int]:
    """Length of each item, the offset table first."""
    while available >= 8:
        group, element, length = struct.unpack("<HHL", stream.read(8))
        available -= 8
        if (group, element) == DELIMITER:
            return
        if (group, element) != ITEM:
            raise ScanError(Reason.CORRUPT_FILE, "compressed pixel data holds something that is no fragment")
        if length > available:
            raise ScanError(Reason.TRUNCATED_PIXELS, f"{available} bytes left in the file for a fragment of {length}")
        yield length
        stream.seek(length, 1)
        available -= length
    if available:
        raise ScanError(Reason.TRUNCATED_PIXELS, "the file ends inside the pixel data")


def declared_size(frame: bytes) -> tuple[int, int] | None:
    """Columns and rows that a JPEG, JPEG-LS or JPEG 2000 codestream declares; None where it declares none.

    Source:
        ITU-T T.81 B.2.2, T.87 C.2.2, T.800 A.5.1.
    """
    start = frame.find(J2K_START, 0, None if frame[4:8] == JP2_BOX else len(J2K_START))
    if start >= 0 and len(frame) >= start + 24:
        right, bottom, left, top = struct.unpack(">4L", frame[start + 8 : start + 24])
        return (right - left, bottom - top)
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in SIZES:
            rows, columns = struct.unpack(">HH", frame[at + 5 : at + 9])
            return (columns, rows)
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None
