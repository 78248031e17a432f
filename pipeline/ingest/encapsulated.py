"""Compressed pixel data before decoding: are all fragments there, and what size do the codestreams declare?"""

import itertools
import math
import struct
from collections.abc import Iterator
from typing import BinaryIO

from pydicom import uid

from pipeline.errors import Reason, ScanError
from pipeline.ingest.dicom_file import DicomFile

ITEM = (0xFFFE, 0xE000)
DELIMITER = (0xFFFE, 0xE0DD)
ITEM_HEAD = 8  # bytes
RLE_BEST_RATIO = 64  # two bytes stand for 128 at most
J2K_START = b"\xff\x4f\xff\x51"
JP2_BOX = b"jP  "  # a codestream in a file wrapper, against the standard
NOT_SIZES = frozenset({0xC4, 0xC8, 0xCC})
Span = tuple[int, int]
SIZES = frozenset(range(0xC0, 0xD0)) - NOT_SIZES | {0xF7}  # SOF0..15 of JPEG, SOF55 of JPEG-LS


def require_whole(file: DicomFile, shape: tuple[int, ...]) -> None:
    """Check that the fragments of encapsulated pixel data are complete and enough for all frames.

    Args:
        file: The open file.
        shape: (columns, rows, frames).

    Raises:
        ScanError: TRUNCATED_PIXELS or CORRUPT_FILE.
    """
    spans = frame_spans(file, shape[2])
    held = sum(length for fragments in spans for _, length in fragments)
    bits = int(file.dataset.get("BitsAllocated") or 8) * int(file.dataset.get("SamplesPerPixel") or 1)
    if file.syntax == uid.RLELossless and math.prod(shape) * bits // 8 > RLE_BEST_RATIO * held:
        raise ScanError(
            Reason.TRUNCATED_PIXELS, f"{held} bytes of RLE cannot hold {shape[0]}x{shape[1]}x{shape[2]} pixels"
        )


def frame_spans(file: DicomFile, frames: int) -> list[list[Span]]:
    """Where the fragments of each frame lie: offset and length within the stream.

    Frames of several fragments are told apart by the offset table where it fits, else by the marker that ends a
    codestream.

    Raises:
        ScanError: TRUNCATED_PIXELS or CORRUPT_FILE.

    Source:
        DICOM PS3.5 A.4.
    """
    if file.pixels is None or file.pixels.length is not None:
        raise ScanError(Reason.CORRUPT_FILE, "compressed pixel data of defined length, expected fragments")
    file.stream.seek(file.pixels.offset)
    table, *fragments = list(_fragments(file.stream, file.pixels.offset, file.pixels.available)) or [(0, 0)]
    if len(fragments) < frames:
        raise ScanError(Reason.TRUNCATED_PIXELS, f"{len(fragments)} fragments for {frames} frames")
    if frames == 1:
        return [fragments]
    if len(fragments) == frames:
        return [[fragment] for fragment in fragments]
    starts = _frame_starts(file, table, fragments)
    if len(starts) != frames:
        raise ScanError(
            Reason.CORRUPT_FILE, f"{len(fragments)} fragments for {frames} frames, and nothing says which is whose"
        )
    bounds = [*starts, len(fragments)]
    return [fragments[begin:end] for begin, end in itertools.pairwise(bounds)]


def _frame_starts(file: DicomFile, table: Span, fragments: list[Span]) -> list[int]:
    """Index of the first fragment of each frame."""
    file.stream.seek(table[0])
    basic = file.stream.read(table[1])
    first_item = fragments[0][0] - ITEM_HEAD
    extended = file.dataset.get("ExtendedOffsetTable")
    if isinstance(extended, bytes) and extended:
        offsets = [offset for (offset,) in struct.iter_unpack("<Q", extended[: len(extended) // 8 * 8])]
    else:
        offsets = [offset for (offset,) in struct.iter_unpack("<L", basic[: len(basic) // 4 * 4])]
    if offsets:
        by_place = {place - ITEM_HEAD - first_item: index for index, (place, _) in enumerate(fragments)}
        if offsets == sorted(set(offsets) & set(by_place)):
            return [by_place[offset] for offset in offsets]
    ends = [index + 1 for index, span in enumerate(fragments) if _ends_a_codestream(file.stream, span)]
    return [0, *ends[:-1]] if ends and ends[-1] == len(fragments) else []


def _ends_a_codestream(stream: BinaryIO, span: Span) -> bool:
    """Whether a fragment ends with the marker that ends JPEG, JPEG-LS (EOI) and JPEG 2000 (EOC) alike."""
    offset, length = span
    stream.seek(offset + max(0, length - 4))
    return stream.read(min(length, 4)).rstrip(b"\0").endswith(b"\xff\xd9")


def _fragments(stream: BinaryIO, at: int, available: int) -> Iterator[Span]:
    """Offset and length of each item's value, the offset table first."""
    end = at + available
    while end - at >= ITEM_HEAD:
        stream.seek(at)
        group, element, length = struct.unpack("<HHL", stream.read(ITEM_HEAD))
        at += ITEM_HEAD
        if (group, element) == DELIMITER:
            return
        if (group, element) != ITEM:
            raise ScanError(Reason.CORRUPT_FILE, "compressed pixel data holds something that is no fragment")
        if length > end - at:
            raise ScanError(Reason.TRUNCATED_PIXELS, f"{end - at} bytes left in the file for a fragment of {length}")
        yield (at, length)
        at += length
    if at < end:
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
