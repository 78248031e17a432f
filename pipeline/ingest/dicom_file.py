"""Open one DICOM file up to its pixel data: preamble or not, deflated or not, never more than a cap."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pydicom
from pydicom import uid
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info

from pipeline.errors import Reason, ScanError
from pipeline.ingest.budget import BUDGET_BYTES
from pipeline.ingest.plain_header import INGEST, Elements, PlainHeader, plain_header
from pipeline.ingest.plain_values import NotPlainError
from pipeline.ingest.silence import quiet

MAGIC_AT = 128
LONG_VRS = (b"OB", b"OW", b"OF", b"OD", b"UN", b"OL", b"OV")
UNDEFINED_LENGTH = 0xFFFFFFFF
PLAIN_STARTS = (2**13, 2**18, 2**22)  # bytes of a header, tried in turn
FLOAT_PIXELS = (0x7FE00008, 0x7FE00009)


@dataclass(frozen=True, slots=True, eq=False)
class PixelElement:
    """Where the pixel data lies within its stream.

    Attributes:
        vr: Value Representation, OB or OW; empty where the encoding is implicit.
        floating: Whether it is Float or Double Float Pixel Data.
        offset: First byte of the value.
        length: Length that the element declares; None where undefined (encapsulated).
        available: Bytes from `offset` to the end of the stream.
    """

    vr: str
    floating: bool
    offset: int
    length: int | None
    available: int


class Header(Protocol):
    """What ingest uses of a header: pydicom's `Dataset`, or a `PlainHeader`."""

    @property
    def original_encoding(self) -> tuple[bool | None, bool | None]:
        """Whether it is encoded implicitly, and whether in little endian."""

    def get(self, keyword: str, default: Any = None) -> Any:
        """The value of an element."""

    def __contains__(self, keyword: str) -> bool: ...


@dataclass(frozen=True, slots=True, eq=False)
class DicomFile:
    """A data set without its pixels, and the stream in which they lie.

    Attributes:
        dataset: All elements before the pixel data.
        stream: The open file, or the inflated bytes of a deflated one.
        syntax: Transfer Syntax UID that the pixels are in.
        pixels: Where they are; None if there are none.
        inflated: Whether `stream` is not the file itself.
    """

    dataset: Header
    stream: BinaryIO
    syntax: str
    pixels: PixelElement | None
    inflated: bool

    def pixel_bytes(self) -> bytes:
        """The value of the pixel data element; encapsulated values run to the end of the stream."""
        if self.pixels is None:
            raise ScanError(Reason.NO_PIXELS, "no pixel data")
        self.stream.seek(self.pixels.offset)
        length = self.pixels.available if self.pixels.length is None else self.pixels.length
        return self.stream.read(length)


def looks_like_dicom(start: bytes) -> bool:
    """Whether the first bytes of a file are a preamble with DICM, or elements of group 2 or 8 without one."""
    return start[MAGIC_AT : MAGIC_AT + 4] == b"DICM" or (
        start[:2] in (b"\x08\x00", b"\x02\x00", b"\x00\x08") and len(start) >= 8
    )


@contextmanager
def open_dicom(path: Path | str) -> Iterator[DicomFile]:
    """Open a DICOM file; the stream is closed at the end of the `with` block.

    Raises:
        ScanError: If a deflated file inflates beyond the budget.
    """
    with Path(path).open("rb") as file, quiet():
        yield parse(file)


def parse(file: BinaryIO) -> DicomFile:
    """Read the data set of an open file up to the pixel data."""
    return plain_file(file) or parse_every_element(file)


def parse_every_element(file: BinaryIO) -> DicomFile:
    """Read the data set of an open file up to the pixel data as pydicom's `Dataset`, also where less would do."""
    file.seek(0)
    meta = _file_meta(file)
    deflated = meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian
    stream: BinaryIO = _inflate(file, meta) if deflated else file
    stream.seek(0)
    dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
    return DicomFile(dataset, stream, _syntax(dataset), _pixel_element(dataset, stream), deflated)


def plain_file(file: BinaryIO, asked_for: Elements = INGEST) -> DicomFile | None:
    """An open file with what its header is asked for, if that is of the ordinary kind."""
    size = os.fstat(file.fileno()).st_size
    for start in PLAIN_STARTS:
        file.seek(0)
        try:
            header = plain_header(file.read(start), size, asked_for)
        except NotPlainError:
            return None
        except struct.error:  # longer than this
            continue
        return DicomFile(header, file, header.syntax, plain_pixels(header, size), inflated=False)
    return None


def plain_pixels(header: PlainHeader, size: int) -> PixelElement:
    """Where the pixel data lies in a file of `size` bytes."""
    vr, offset, length = header.pixels
    return PixelElement(
        vr=vr.decode("ascii"),
        floating=False,
        offset=offset,
        length=None if length == UNDEFINED_LENGTH else length,
        available=max(0, size - offset),
    )


def _file_meta(file: BinaryIO) -> pydicom.Dataset:
    """The file meta group, with the file left at its end; empty where there is no preamble."""
    if file.read(MAGIC_AT + 4)[MAGIC_AT:] != b"DICM":
        return pydicom.Dataset()
    return read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)


def _inflate(file: BinaryIO, meta: pydicom.Dataset) -> io.BytesIO:
    """Inflate the data set of a deflated file behind a copy of its meta group that says explicit."""
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    out = io.BytesIO()
    out.write(b"\0" * MAGIC_AT + b"DICM")
    write_file_meta_info(DicomIO(out), FileMetaDataset(meta), enforce_standard=False)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while not inflater.eof and (chunk := file.read(2**16)):
        while chunk and not inflater.eof:  # behind its end zlib would offer the same bytes for ever
            out.write(inflater.decompress(chunk, 2**20))
            chunk = inflater.unconsumed_tail
            if out.tell() > BUDGET_BYTES // 4:
                raise ScanError(
                    Reason.OVER_BUDGET, f"inflates to more than {BUDGET_BYTES // 4} bytes; not read further"
                )
    out.write(inflater.flush())
    if not inflater.eof:
        raise ScanError(Reason.TRUNCATED_FILE, "the deflated data set ends early")
    return out


def _syntax(dataset: pydicom.Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    declared = str(meta.get("TransferSyntaxUID", "") or "") if meta is not None else ""
    if declared:
        return declared
    implicit, little = dataset.original_encoding
    if implicit:
        return str(uid.ImplicitVRLittleEndian)
    return str(uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian)


def _encoding(dataset: pydicom.Dataset) -> tuple[bool | None, bool | None]:
    """Whether elements are implicit and little endian as pydicom found them, whatever the transfer syntax says."""
    elements: Iterator[Any] = map(dataset.get_item, dataset.keys())
    for element in elements:
        if isinstance(element, RawDataElement):
            return element.is_implicit_VR, element.is_little_endian
    return dataset.original_encoding


def _pixel_element(dataset: pydicom.Dataset, stream: BinaryIO) -> PixelElement | None:
    """Parse the element header at which `dcmread` stopped."""
    start = stream.tell()
    head = stream.read(12)
    end = stream.seek(0, io.SEEK_END)
    implicit, little = _encoding(dataset)
    order = "<" if little else ">"
    if len(head) < 8:
        return None
    group, element = struct.unpack(f"{order}HH", head[:4])
    if group != 0x7FE0:
        return None
    explicit = not implicit and head[4:6].isalpha()
    if not explicit:  # some files encode the pixel data alone without a VR
        length, size = struct.unpack(f"{order}L", head[4:8])[0], 8
    elif head[4:6] in LONG_VRS:
        if len(head) < 12:
            return None
        length, size = struct.unpack(f"{order}L", head[8:12])[0], 12
    else:
        length, size = struct.unpack(f"{order}H", head[6:8])[0], 8
    return PixelElement(
        vr=head[4:6].decode("ascii", "replace") if explicit else "",
        floating=(group << 16 | element) in FLOAT_PIXELS,
        offset=start + size,
        length=None if length == UNDEFINED_LENGTH else length,
        available=max(0, end - start - size),
    )
