"""Compressed pixel data: fragments put together anew, without the comments that codestreams can carry."""

import struct

from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from pipeline.errors import Reason, ScanError
from pipeline.ingest.dicom_file import DicomFile
from pipeline.ingest.encapsulated import frame_spans

JPEG_START, JPEG_SCAN, JPEG_END = 0xD8, 0xDA, 0xD9
JPEG_COMMENT = 0xFE
JPEG_APPLICATIONS = range(0xE0, 0xF0)
# JFIF, SPIFF and JPEG-LS colour transform, Adobe colour transform: short segments that a decoder needs to see.
JPEG_NEEDED = {0xE0: b"JFIF\0", 0xE8: b"mrfx", 0xEE: b"Adobe"}
JPEG_NEEDED_BYTES = {0xE0: 14, 0xE8: 5, 0xEE: 12}
J2K_START, J2K_COMMENT, J2K_TILE = 0x4F, 0x64, 0x90


def clean_encapsulated(file: DicomFile, frames: int) -> bytes:
    """The value of the pixel data element: one fragment per frame, with a fresh offset table.

    The codestreams stay as they are but for comments and application segments (EXIF and the like).

    Raises:
        ScanError: If fragments are missing, or a codestream is none.
    """
    cleaned = []
    for fragments in frame_spans(file, frames):
        parts = []
        for offset, length in fragments:
            file.stream.seek(offset)
            parts.append(file.stream.read(length))
        frame = b"".join(parts)
        cleaned.append(frame if file.syntax == RLELossless else clean_codestream(frame))
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


def _clean_jpeg(frame: bytes) -> bytes:
    out, at = bytearray(frame[:2]), 2
    while True:
        marker, segment, after = _segment(frame, at)
        if marker == JPEG_SCAN:
            break
        if marker in JPEG_APPLICATIONS:
            needed = JPEG_NEEDED.get(marker)
            if needed is not None and segment[4:].startswith(needed):
                segment = segment[: 4 + JPEG_NEEDED_BYTES[marker]]
                out += segment[:2] + struct.pack(">H", len(segment) - 2) + segment[4:]
        elif marker != JPEG_COMMENT:
            out += segment
        at = after
    end = frame.rfind(bytes([0xFF, JPEG_END]))
    return bytes(out) + (frame[at:] if end < at else frame[at : end + 2])


def _clean_j2k(frame: bytes) -> bytes:
    out, at = bytearray(frame[:2]), 2
    while True:
        marker, segment, after = _segment(frame, at)
        if marker == J2K_TILE:
            break
        if marker != J2K_COMMENT:
            out += segment
        at = after
    return bytes(out) + frame[at:]


def _segment(frame: bytes, at: int) -> tuple[int, bytes, int]:
    """The marker segment at an offset: marker, bytes with marker and length, offset of the next one."""
    while frame[at : at + 2] == b"\xff\xff":  # fill bytes
        at += 1
    head = frame[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF:
        raise ScanError(Reason.CORRUPT_FILE, "a codestream whose header is damaged")
    after = at + 2 + struct.unpack(">H", head[2:])[0]
    if after > len(frame) or after < at + 4:
        raise ScanError(Reason.CORRUPT_FILE, "a codestream whose header is damaged")
    return head[1], frame[at:after], after
