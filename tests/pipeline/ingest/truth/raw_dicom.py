"""Puts DICOM files together byte by byte, without any library (PS3.5 7.1, PS3.10 7.1)."""

import struct
from collections.abc import Iterable
from pathlib import Path

from tests.pipeline.ingest.truth.dicom import CT, Stack

IMPLICIT, EXPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2", ".1.99"))
LONG = (b"OB", b"OW", b"UN", b"SQ", b"UT", b"OF")

Element = tuple[int, bytes, bytes]


def text(value: str, pad: bytes = b" ") -> bytes:
    """Text of even length."""
    coded = value.encode("ascii")
    return coded + pad * (len(coded) % 2)


def elements(stack: Stack, k: int, order: str = "<", **changed: bytes) -> list[Element]:
    """The elements of one slice; `changed` gives other values by their tag in hexadecimal."""

    def short(number: int) -> bytes:
        return struct.pack(f"{order}H", number)

    place = "\\".join(str(number) for number in stack.place(k))
    rows, columns = stack.stored.shape[1:]
    listed: list[Element] = [
        (0x00080008, b"CS", text("ORIGINAL\\PRIMARY\\AXIAL")),
        (0x00080016, b"UI", text(CT, b"\0")),
        (0x00080018, b"UI", text(f"1.2.3.4.5.{k + 1}", b"\0")),
        (0x00080060, b"CS", b"CT"),
        (0x00100020, b"LO", b"P1"),
        (0x0020000D, b"UI", text("1.2.3", b"\0")),
        (0x0020000E, b"UI", text("1.2.3.4", b"\0")),
        (0x00200013, b"IS", text(str(k + 1))),
        (0x00200032, b"DS", text(place)),
        (0x00200037, b"DS", text("1\\0\\0\\0\\1\\0")),
        (0x00200052, b"UI", text("1.2.9", b"\0")),
        (0x00280002, b"US", short(1)),
        (0x00280004, b"CS", text("MONOCHROME2")),
        (0x00280010, b"US", short(rows)),
        (0x00280011, b"US", short(columns)),
        (0x00280030, b"DS", text("0.8\\0.7")),
        (0x00280100, b"US", short(16)),
        (0x00280101, b"US", short(12)),
        (0x00280102, b"US", short(11)),
        (0x00280103, b"US", short(0)),
        (0x00281052, b"DS", text("-1024")),
        (0x00281053, b"DS", text("1")),
        (0x7FE00010, b"OW", stack.stored[k].astype(f"{order}u2").tobytes()),
    ]
    return [(tag, vr, changed.get(f"x{tag:08X}", value)) for tag, vr, value in listed]


def encoded(listed: Iterable[Element], *, explicit: bool = True, order: str = "<") -> bytes:
    """Elements as bytes (PS3.5 7.1)."""
    out = b""
    for tag, vr, value in listed:
        out += struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
        if not explicit:
            out += struct.pack(f"{order}L", len(value))
        elif vr in LONG:
            out += vr + b"\0\0" + struct.pack(f"{order}L", len(value))
        else:
            out += vr + struct.pack(f"{order}H", len(value))
        out += value
    return out


def with_meta(body: bytes, syntax: str, preamble: bytes = b"\0" * 128) -> bytes:
    """A whole file (PS3.10 7.1)."""
    listed = [
        (0x00020001, b"OB", b"\0\1"),
        (0x00020002, b"UI", text(CT, b"\0")),
        (0x00020003, b"UI", text("1.2.3.4.5.1", b"\0")),
        (0x00020010, b"UI", text(syntax, b"\0")),
    ]
    meta = encoded(listed)
    return preamble + b"DICM" + encoded([(0x00020000, b"UL", struct.pack("<L", len(meta)))]) + meta + body


def write(folder: Path, make) -> None:
    """All slices of the default stack."""
    for k in range(8):
        (folder / f"{(k * 3) % 8}").write_bytes(make(elements(Stack(), k), k))
