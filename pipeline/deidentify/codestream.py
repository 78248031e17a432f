"""Compressed pixel data: fragments put together anew, without the comments that codestreams can carry."""

import itertools
import re
import struct

from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from pipeline.deidentify.native import Layout
from pipeline.errors import Reason, ScanError
from pipeline.ingest.dicom_file import DicomFile
from pipeline.ingest.encapsulated import frame_spans

JPEG_START, JPEG_SCAN = 0xD8, 0xDA
JPEG_END = b"\xff\xd9"  # of JPEG 2000 as well
# Frames, tables, restarts, scans and their parameters; JPEG-LS has two more. The rest is comments or reserved.
JPEG_KEPT = frozenset({*range(0xC0, 0xD0), *range(0xDA, 0xE0), 0xF7, 0xF8}) - {0xC8}
JPEG_APPLICATIONS = range(0xE0, 0xF0)
# JFIF without thumbnail and its size, JPEG-LS and Adobe colour transform: what decoders look at, and its length.
JFIF, JFIF_BYTES, NO_THUMBNAIL = 0xE0, 12, b"\0\0"
JPEG_NEEDED: dict[int, tuple[bytes, int]] = {0xE0: (b"JFIF\0", JFIF_BYTES), 0xE8: (b"mrfx", 5), 0xEE: (b"Adobe", 12)}
MARKER_IN_SCAN = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")  # no restart, no stuffed byte
J2K_START, J2K_TILE, J2K_PACKETS = 0x4F, 0x90, 0x93
# All of Part 1 but comments (0x64), of Part 2 the multiple component transforms, of Part 15 what HTJ2K declares.
J2K_KEPT = frozenset({*range(0x50, 0x54), *range(0x55, 0x5A), *range(0x5C, 0x62), 0x63, 0x74, 0x75, 0x77, 0x78})
J2K_TILE_BYTES = 12
DAMAGED = "a codestream whose header is damaged"


def clean_encapsulated(file: DicomFile, layout: Layout) -> bytes:
    """The value of the pixel data element: one fragment per frame, with a fresh offset table.

    The codestreams stay as they are but for comments and application segments (EXIF and the like).

    Raises:
        ScanError: If fragments are missing, or a codestream is none.
    """
    cleaned = []
    for fragments in frame_spans(file, layout.frames):
        parts = []
        for offset, length in fragments:
            file.stream.seek(offset)
            parts.append(file.stream.read(length))
        frame = b"".join(parts)
        if file.syntax == RLELossless:
            cleaned.append(_clean_rle(frame, layout.plane))
        else:
            cleaned.append(clean_codestream(frame))
    return bytes(encapsulate(cleaned, has_bot=sum(map(len, cleaned)) < 2**31))


def clean_codestream(frame: bytes) -> bytes:
    """A JPEG, JPEG-LS or JPEG 2000 codestream without comments, application data, and what follows its end.

    Raises:
        ScanError: CORRUPT_FILE if it is none of these.

    Source:
        ITU-T T.81 B.1.1, T.87 Annex C, T.800 Annex A.
    """
    if frame[:1] != b"\xff" or frame[1:2] not in (bytes([JPEG_START]), bytes([J2K_START])):
        raise ScanError(Reason.CORRUPT_FILE, "compressed pixel data that is neither JPEG nor JPEG 2000")
    return _clean_j2k(frame) if frame[1] == J2K_START else _clean_jpeg(frame)


def _clean_rle(frame: bytes, plane: int) -> bytes:
    """An RLE frame with nothing between its planes, and nothing behind them (PS3.5 Annex G).

    Args:
        frame: Header of 16 numbers, then byte planes.
        plane: Bytes of one plane when decoded.
    """
    offsets = struct.unpack("<16L", frame[:64])
    if not 1 <= offsets[0] <= 15 or offsets[1] != 64:
        raise ScanError(Reason.CORRUPT_FILE, DAMAGED)
    planes = [_clean_plane(frame, at, plane) for at in offsets[1 : offsets[0] + 1]]
    starts = list(itertools.accumulate(map(len, planes[:-1]), initial=offsets[1]))
    return struct.pack("<16L", len(planes), *starts, *[0] * (15 - len(planes))) + b"".join(planes)


def _clean_plane(frame: bytes, at: int, plane: int) -> bytes:
    """The runs of one byte plane up to its last byte, padded to an even length."""
    out, decoded = bytearray(), 0
    while decoded < plane:
        if at >= len(frame):
            raise ScanError(Reason.TRUNCATED_PIXELS, "an RLE frame that ends early")
        run = frame[at]
        if run < 128:
            literal = frame[at + 1 : at + 1 + min(run + 1, plane - decoded)]
            out += bytes([len(literal) - 1 & 0xFF]) + literal
        elif run > 128:
            out += frame[at : at + 2]
        decoded += 0 if run == 128 else run + 1 if run < 128 else 257 - run
        at += 1 if run == 128 else run + 2 if run < 128 else 2
    if at > len(frame):
        raise ScanError(Reason.TRUNCATED_PIXELS, "an RLE frame that ends early")
    return bytes(out) + b"\0" * (len(out) % 2)


def _clean_jpeg(frame: bytes) -> bytes:
    out, at = bytearray(frame[:2]), 2
    while frame[at : at + 2] != JPEG_END:
        marker, segment, at = _segment(frame, at)
        if marker in JPEG_APPLICATIONS:
            out += _needed_part(marker, segment)
        elif marker in JPEG_KEPT:
            out += segment
        if marker == JPEG_SCAN:
            found = MARKER_IN_SCAN.search(frame, at)
            if found is None:
                raise ScanError(Reason.CORRUPT_FILE, "a codestream that does not end")
            out += frame[at : found.start()]
            at = found.start()
    return bytes(out) + JPEG_END


def _needed_part(marker: int, segment: bytes) -> bytes:
    """An application segment that decoders look at, cut to its fixed length; nothing of any other."""
    name, length = JPEG_NEEDED.get(marker, (b"", 0))
    body = segment[4 : 4 + length] + (NO_THUMBNAIL if marker == JFIF else b"")
    return segment[:2] + struct.pack(">H", 2 + len(body)) + body if name and body.startswith(name) else b""


def _clean_j2k(frame: bytes) -> bytes:
    header, at = _j2k_header(frame, 2, J2K_TILE)
    out = bytearray(frame[:2]) + header
    while frame[at : at + 2] == bytes([0xFF, J2K_TILE]):
        _, tile, after = _segment(frame, at)
        if len(tile) != J2K_TILE_BYTES:
            raise ScanError(Reason.CORRUPT_FILE, DAMAGED)
        (length,) = struct.unpack(">L", tile[6:10])
        header, start = _j2k_header(frame, after, J2K_PACKETS)
        end = at + length if length else frame.rfind(JPEG_END)
        if not start + 2 <= end <= len(frame):
            raise ScanError(Reason.CORRUPT_FILE, "a codestream that does not end")
        part = header + frame[start:end]
        out += tile[:6] + struct.pack(">L", len(tile) + len(part) if length else 0) + tile[10:] + part
        at = end
    if frame[at : at + 2] != JPEG_END and frame[at:].strip(b"\0"):
        raise ScanError(Reason.CORRUPT_FILE, DAMAGED)
    return bytes(out) + JPEG_END


def _j2k_header(frame: bytes, at: int, until: int) -> tuple[bytes, int]:
    """The segments before a marker that the standard knows, without comments, and where that marker is."""
    out = bytearray()
    while frame[at : at + 2] != bytes([0xFF, until]):
        marker, segment, at = _segment(frame, at)
        if marker in J2K_KEPT:
            out += segment
    return bytes(out), at


def _segment(frame: bytes, at: int) -> tuple[int, bytes, int]:
    """The marker segment at an offset: marker, bytes with marker and length, offset of the next one."""
    while frame[at : at + 2] == b"\xff\xff":  # fill bytes
        at += 1
    head = frame[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF:
        raise ScanError(Reason.CORRUPT_FILE, DAMAGED)
    after = at + 2 + struct.unpack(">H", head[2:])[0]
    if after > len(frame) or after < at + 4:
        raise ScanError(Reason.CORRUPT_FILE, DAMAGED)
    return head[1], frame[at:after], after
