"""Which object a DICOM file holds: its UIDs, read without recursion, without inflating bombs, without its values."""

import io
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydicom import uid

from pipeline.errors import Reason, ScanError

PREAMBLE = 132
META_SYNTAX = 0x00020010
SOP_CLASS, SOP_INSTANCE, STUDY, SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
WANTED = (SOP_CLASS, SOP_INSTANCE, STUDY, SERIES)
LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
DEEPEST = 64
INFLATED_AT_MOST = 4 * 2**20
UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True, slots=True)
class ObjectIds:
    """What one DICOM file says it is.

    Attributes:
        syntax: Transfer syntax UID of its file meta.
        sop_class, sop_instance, study, series: UIDs of its data set.
        start: Offset of the data set in the file, bytes.
    """

    syntax: str
    sop_class: str
    sop_instance: str
    study: str
    series: str
    start: int


@dataclass(frozen=True, slots=True)
class _Encoding:
    """How elements are written: with their VR or without, and in which byte order."""

    explicit: bool
    order: str


META = _Encoding(explicit=True, order="<")
IMPLICIT = _Encoding(explicit=False, order="<")


def read_ids(path: Path) -> ObjectIds:
    """Read the UIDs of a DICOM file with preamble and file meta.

    Raises:
        ScanError: NOT_DICOM without preamble or file meta; CORRUPT_HEADER without a UID that names an object.
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        if file.read(PREAMBLE)[128:] != b"DICM":
            raise ScanError(Reason.NOT_DICOM, "no DICM after 128 bytes; a file with preamble and meta would be right")
        try:
            syntax, start = _read_meta(file)
            found = _walk(*_data_set(file, syntax))
        except (struct.error, zlib.error, ValueError) as error:
            raise ScanError(Reason.CORRUPT_HEADER, "header ends early or cannot be followed") from error
    for tag in WANTED:
        if not is_uid(found.get(tag, "")):
            raise ScanError(Reason.CORRUPT_HEADER, f"element {tag:08X} holds no UID; digits and dots would be right")
    return ObjectIds(syntax, found[SOP_CLASS], found[SOP_INSTANCE], found[STUDY], found[SERIES], start)


def is_uid(text: str) -> bool:
    """Whether a text from elsewhere is digits and dots only, 64 at most."""
    return UID.fullmatch(text) is not None


def _read_meta(file: IO[bytes]) -> tuple[str, int]:
    """Transfer syntax, and where the data set begins."""
    syntax = ""
    while True:
        start = file.tell()
        tag, _, length = _element(file, META)
        if tag >> 16 != 2:
            file.seek(start)
            return syntax, start
        if tag == META_SYNTAX:
            syntax = _text(file, length)
        else:
            file.seek(length, io.SEEK_CUR)


def _data_set(file: IO[bytes], syntax: str) -> tuple[IO[bytes], _Encoding]:
    """The stream of the data set's elements; of a deflated one only its beginning is inflated."""
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(INFLATED_AT_MOST), INFLATED_AT_MOST)
        return io.BytesIO(inflated), META
    if syntax == uid.ImplicitVRLittleEndian:
        return file, IMPLICIT
    return file, _Encoding(explicit=True, order=">" if syntax == uid.ExplicitVRBigEndian else "<")


def _walk(file: IO[bytes], encoding: _Encoding) -> dict[int, str]:
    """Values of the wanted elements of the top level; sequences are stepped over, however they nest."""
    found: dict[int, str] = {}
    outer = [encoding]
    while len(outer) <= DEEPEST:
        tag, vr, length = _element(file, outer[-1])
        if len(outer) == 1 and tag > SERIES:
            return found
        if tag in (ITEM_END, SEQUENCE_END):
            if len(outer) == 1:
                raise ValueError("delimiter without a sequence")
            outer.pop()
        elif length == UNDEFINED:
            outer.append(IMPLICIT if vr == b"UN" else outer[-1])  # PS3.5 6.2.2 note 4
        elif len(outer) == 1 and tag in WANTED:
            found[tag] = _text(file, length)
            if tag == SERIES:
                return found
        else:
            file.seek(length, io.SEEK_CUR)
    raise ValueError("sequences nest too deep")


def _element(file: IO[bytes], encoding: _Encoding) -> tuple[int, bytes, int]:
    """Tag, VR (empty where none is written) and length of the next element."""
    group, number = struct.unpack(encoding.order + "HH", file.read(4))
    tag = group << 16 | number
    if not encoding.explicit or group == 0xFFFE:
        return tag, b"", struct.unpack(encoding.order + "I", file.read(4))[0]
    vr = file.read(2)
    if vr in LONG_VRS:
        file.read(2)
        return tag, vr, struct.unpack(encoding.order + "I", file.read(4))[0]
    return tag, vr, struct.unpack(encoding.order + "H", file.read(2))[0]


def _text(file: IO[bytes], length: int) -> str:
    if length > 128:
        raise ValueError("too long for a UID")
    value = file.read(length)
    if len(value) < length:
        raise ValueError("ends in a UID")
    return value.rstrip(b"\0 ").decode("ascii")
