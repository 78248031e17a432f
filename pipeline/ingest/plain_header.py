"""A quick parser for the headers that most files have, which leaves every other file to pydicom.

pydicom takes 0.3 ms for a header, and a night's intake may have a million of them. This parser reads single-frame grey
images with a preamble, in little endian, whose elements are in order and whose values are spelt the ordinary way. At
the first thing that is otherwise it gives up (`NotPlainError`), so it never has to guess. Tests compare both parsers.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pydicom import uid
from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword

from pipeline.ingest.plain_values import NotPlainError, plain_text, plain_value
from pipeline.ingest.syntaxes import DECODERS

MAGIC_AT = 128
START = MAGIC_AT + 4
PIXELS = 0x7FE00010
UNDEFINED_LENGTH = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
DEEPEST = 8
LONGEST_VALUE = 1024  # bytes; ordinary ones are shorter, and thousands are remembered
SYNTAX_TAG = 0x00020010

SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
LONG_VRS = frozenset(b"OB OW OF OD OL OV UN UC UR UT SQ SV UV".split())
IMPLICIT = str(uid.ImplicitVRLittleEndian)
EXPLICIT = frozenset({str(uid.ExplicitVRLittleEndian), *DECODERS})

_explicit = struct.Struct("<HH2sH").unpack_from
_implicit = struct.Struct("<HHL").unpack_from
_length = struct.Struct("<L").unpack_from


@dataclass(frozen=True, slots=True, eq=False)
class Elements:
    """Elements that a header is asked for. Where one is a sequence and is there, the header is not plain.

    Attributes:
        tags: Each with its keyword.
        keywords: The same without tags.
    """

    tags: Mapping[int, str]
    keywords: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keywords", frozenset(self.tags.values()))


def elements(keywords: Iterable[str]) -> Elements:
    """Those of some keywords, and the two by which a header is found to be plain.

    Raises:
        LookupError: If DICOM has no such keyword.
    """
    tags: dict[int, str] = {}
    for name in sorted({*keywords, "PhotometricInterpretation", "NumberOfFrames"}):
        tag = tag_for_keyword(name)
        if tag is None:
            raise LookupError(f"{name}: no keyword of DICOM")
        tags[tag] = name
    return Elements(tags)


INGEST = elements(
    b"""
    AcquisitionNumber BitsAllocated BitsStored Columns ConcatenationUID DiffusionBValue DiffusionGradientOrientation
    DimensionIndexSequence DimensionIndexValues DirectoryRecordSequence EchoNumbers EchoTime EffectiveEchoTime
    ExtendedOffsetTable FlipAngle FrameOfReferenceUID FrameReferenceTime FrameType HighBit ImageOrientationPatient
    ImagePositionPatient ImageType InstanceNumber InversionTime Modality ModalityLUTSequence
    NominalCardiacTriggerDelayTime NumberOfFrames PatientID PerFrameFunctionalGroupsSequence
    PhotometricInterpretation PixelRepresentation PixelSpacing PlanarConfiguration
    RedPaletteColorLookupTableDescriptor RescaleIntercept RescaleSlope Rows SOPClassUID SOPInstanceUID
    SamplesPerPixel SeriesInstanceUID SharedFunctionalGroupsSequence SliceThickness SpacingBetweenSlices StackID
    TemporalPositionIdentifier TemporalPositionIndex TriggerTime VOILUTFunction VOILUTSequence WindowCenter
    WindowWidth
    """.decode().split()
)

Place = tuple[bytes, int, int]  # Value Representation, offset, length


class PlainHeader:
    """The elements before the pixel data that are asked for; as much of pydicom's `Dataset` as is used of it.

    Attributes:
        syntax: Transfer Syntax UID.
        pixels: Value Representation, offset and length of the pixel data.
        original_encoding: Whether the encoding is implicit, and that it is little endian.
    """

    __slots__ = ("_asked_for", "_values", "original_encoding", "pixels", "syntax")

    def __init__(self, buffer: bytes | bytearray, places: dict[int, Place], syntax: str, asked_for: Elements) -> None:
        self._asked_for = asked_for
        self._values: dict[str, Any] = {}
        for tag, keyword in asked_for.tags.items():
            if tag in places:
                vr, at, length = places[tag]
                if length > LONGEST_VALUE:  # also a sequence of undefined length
                    raise NotPlainError
                raw = bytes(buffer[at : at + length])
                if len(raw) != length:
                    raise NotPlainError
                self._values[keyword] = plain_value(vr or dictionary_VR(tag).encode(), raw)
        self.syntax = syntax
        self.pixels = places[PIXELS]
        self.original_encoding = (syntax == IMPLICIT, True)

    def __contains__(self, keyword: str) -> bool:
        return self.get(keyword, self) is not self

    def get(self, keyword: str, default: Any = None) -> Any:
        """The value of an element: None where it is empty, a list where it has several values.

        Raises:
            LookupError: If it was not asked for, which is a mistake in this program.
        """
        if keyword in self._values:
            return self._values[keyword]
        if keyword not in self._asked_for.keywords:
            raise LookupError(f"{keyword} is not among the elements that this header was asked for")
        return default


def plain_header(buffer: bytes | bytearray, size: int, asked_for: Elements = INGEST) -> PlainHeader:
    """Parse the header of a file.

    Args:
        buffer: The file from its first byte to somewhere behind the pixel data element's own header.
        size: Bytes of the whole file.
        asked_for: What of it is read.

    Raises:
        NotPlainError: If it is not of the ordinary kind.
        struct.error: If the buffer ends before the pixel data; a longer one may do.
    """
    if buffer[MAGIC_AT:START] != b"DICM":
        raise NotPlainError
    syntax, at = _meta(buffer)
    if syntax == IMPLICIT:
        places = _implicit_places(buffer, at, size)
    elif syntax in EXPLICIT:
        places = _explicit_places(buffer, at, size)
    else:
        raise NotPlainError
    header = PlainHeader(buffer, places, syntax, asked_for)
    if header.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2") or "NumberOfFrames" in header:
        raise NotPlainError
    return header


def _meta(buffer: bytes | bytearray) -> tuple[str, int]:
    """Transfer syntax, and where the file meta information ends."""
    at, syntax, last = START, "", 0
    while True:
        group, element, vr, length = _explicit(buffer, at)
        if group != 2:
            return syntax, at
        tag = group << 16 | element
        if tag <= last:
            raise NotPlainError
        last = tag
        if vr in SHORT_VRS:
            at += 8
        elif vr in LONG_VRS:
            length, at = _length(buffer, at + 8)[0], at + 12
        else:
            raise NotPlainError
        if tag == SYNTAX_TAG:
            syntax = plain_text(bytes(buffer[at : at + length]))
        at += length


def _explicit_places(buffer: bytes | bytearray, at: int, size: int) -> dict[int, Place]:
    places: dict[int, Place] = {}
    last = 0
    while True:
        group, element, vr, length = _explicit(buffer, at)
        tag = group << 16 | element
        if tag <= last or tag > PIXELS:
            raise NotPlainError
        last = tag
        if vr in SHORT_VRS:
            at += 8
        elif vr in LONG_VRS:
            length, at = _length(buffer, at + 8)[0], at + 12
        else:
            raise NotPlainError
        places[tag] = (vr, at, length)
        if tag == PIXELS:
            return places
        if length != UNDEFINED_LENGTH:
            at += length
        elif vr == b"SQ":
            at = _behind_sequence(buffer, at, 0, explicit=True)
        else:
            raise NotPlainError
        if at > size:
            raise NotPlainError


def _implicit_places(buffer: bytes | bytearray, at: int, size: int) -> dict[int, Place]:
    places: dict[int, Place] = {}
    last = 0
    if bytes(buffer[at + 4 : at + 6]) in SHORT_VRS | LONG_VRS:  # explicit although it says implicit
        raise NotPlainError
    while True:
        group, element, length = _implicit(buffer, at)
        tag = group << 16 | element
        if tag <= last or tag > PIXELS:
            raise NotPlainError
        last = tag
        at += 8
        places[tag] = (b"", at, length)
        if tag == PIXELS:
            return places
        if length != UNDEFINED_LENGTH:
            at += length
        elif _is_sequence(tag):
            at = _behind_sequence(buffer, at, 0, explicit=False)
        else:
            raise NotPlainError
        if at > size:
            raise NotPlainError


def _behind_sequence(buffer: bytes | bytearray, at: int, depth: int, *, explicit: bool) -> int:
    """Skip the items of a sequence of undefined length."""
    while True:
        group, element, length = _implicit(buffer, at)
        tag = group << 16 | element
        at += 8
        if tag == SEQUENCE_END:
            return at
        if tag != ITEM or depth > DEEPEST:
            raise NotPlainError
        at = _behind_item(buffer, at, depth, explicit=explicit) if length == UNDEFINED_LENGTH else at + length


def _behind_item(buffer: bytes | bytearray, at: int, depth: int, *, explicit: bool) -> int:
    """Skip the elements of an item of undefined length."""
    vr = b""
    while True:
        group, element, length = _implicit(buffer, at)
        if group << 16 | element == ITEM_END:
            return at + 8
        if explicit:
            vr = bytes(buffer[at + 4 : at + 6])
            if vr in LONG_VRS:
                length, at = _length(buffer, at + 8)[0], at + 4
            elif vr in SHORT_VRS:
                length >>= 16
            else:
                raise NotPlainError
        at += 8
        if length != UNDEFINED_LENGTH:
            at += length
        elif vr == b"SQ" if explicit else _is_sequence(group << 16 | element):
            at = _behind_sequence(buffer, at, depth + 1, explicit=explicit)
        else:
            raise NotPlainError


@lru_cache(maxsize=1024)
def _is_sequence(tag: int) -> bool:
    """Whether the dictionary has an element, and as a sequence; any other of undefined length is not plain."""
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"
