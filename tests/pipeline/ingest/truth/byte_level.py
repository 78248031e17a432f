"""DICOM written byte by byte, without any library: encodings, wrong VRs, odd lengths."""

import struct
import zlib
from pathlib import Path

import numpy as np

from tests.pipeline.ingest.truth.case import HIGHDICOM, SITK, Expected, case, read, refuse
from tests.pipeline.ingest.truth.dicom import Stack
from tests.pipeline.ingest.truth.raw_dicom import (
    BIG,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    elements,
    encoded,
    text,
    with_meta,
    write,
)

BOTH = (HIGHDICOM, SITK)


@case(row=1)
def explicit_little_endian(folder: Path) -> Expected:
    """The plainest file, written by hand."""
    write(folder, lambda listed, k: with_meta(encoded(listed), EXPLICIT))
    return read(Stack().truth(), proof=BOTH)


@case()
def implicit_little_endian(folder: Path) -> Expected:
    """Implicit VR: the dictionary tells the representation (PS3.5 A.1)."""
    write(folder, lambda listed, k: with_meta(encoded(listed, explicit=False), IMPLICIT))
    return read(Stack().truth(), proof=BOTH)


@case(row=15, variants={"implicit": False, "explicit": True})
def without_preamble(folder: Path, explicit: bool) -> Expected:
    """Neither preamble nor file meta information, as ACR-NEMA and old exporters write it."""
    write(folder, lambda listed, k: encoded(listed, explicit=explicit))
    return read(Stack().truth(), proof=(SITK,) if not explicit else ())


@case(row=16)
def big_endian(folder: Path) -> Expected:
    """Explicit VR Big Endian, retired (PS3.5 A.3): numbers and pixels have their high byte first."""
    for k in range(8):
        listed = elements(Stack(), k, ">")
        (folder / f"{k}").write_bytes(with_meta(encoded(listed, order=">"), BIG))
    return read(Stack().truth(), proof=BOTH)


@case()
def big_endian_8_bits(folder: Path) -> Expected:
    """8-bit pixels as OW in big endian: two pixels to a word, the second one first (PS3.5 8.1.2, D.3)."""
    stack = Stack(stored=np.random.default_rng(1).integers(0, 256, (1, 6, 4)), step=(0, 0, 1))
    changed = {"x00280100": b"\0\x08", "x00280101": b"\0\x08", "x00280102": b"\0\x07"}
    listed = elements(stack, 0, ">", **changed)[:-1]
    pixels = stack.stored.astype("u1").tobytes()
    swapped = np.frombuffer(pixels, "<u2").astype(">u2").tobytes()
    (folder / "a").write_bytes(with_meta(encoded([*listed, (0x7FE00010, b"OW", swapped)], order=">"), BIG))
    return read(stack.truth(), proof=())


@case(row=17)
def deflated(folder: Path) -> Expected:
    """Deflated Explicit VR Little Endian (PS3.5 A.5): the data set is a raw deflate stream."""

    def make(listed, k):
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return with_meta(packer.compress(encoded(listed)) + packer.flush(), DEFLATED)

    write(folder, make)
    return read(Stack().truth(), proof=BOTH)


@case()
def deflated_and_cut(folder: Path) -> Expected:
    """A deflated stream that ends early: the series is refused."""

    def make(listed, k):
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = packer.compress(encoded(listed)) + packer.flush()
        return with_meta(packed[: len(packed) - 20 * (k == 3)], DEFLATED)

    write(folder, make)
    return read(refused="TRUNCATED_FILE MISSING_SLICE")


@case(
    variants={"says_explicit": (EXPLICIT, False), "says_implicit": (IMPLICIT, True)},
)
def other_encoding_than_declared(folder: Path, syntax: str, explicit: bool) -> Expected:
    """Implicit bytes under an explicit transfer syntax and the reverse: told by the bytes themselves."""
    write(folder, lambda listed, k: with_meta(encoded(listed, explicit=explicit), syntax))
    return read(Stack().truth())


@case()
def preamble_of_a_tiff(folder: Path) -> Expected:
    """The preamble may hold another format's header (PS3.10 7.1)."""
    tiff = b"II*\0" + b"\0" * 124
    write(folder, lambda listed, k: with_meta(encoded(listed), EXPLICIT, tiff))
    return read(Stack().truth())


@case()
def unknown_vr_for_known_elements(folder: Path) -> Expected:
    """Position and rescale as UN, as some archives store what they did not know (PS3.5 6.2.2)."""
    known = (0x00200032, 0x00281052, 0x00281053)

    def make(listed, k):
        return with_meta(encoded([(tag, b"UN" if tag in known else vr, value) for tag, vr, value in listed]), EXPLICIT)

    write(folder, make)
    return read(Stack().truth())


@case(
    variants={
        "pixels_as_ob": (0x7FE00010, b"OB"),
        "position_as_lo": (0x00200032, b"LO"),
        "rows_as_ss": (0x00280010, b"SS"),
    }
)
def wrong_vr(folder: Path, wrong: int, wrong_vr: bytes) -> Expected:
    """Another value representation than the dictionary's, with the same bytes."""

    def make(listed, k):
        return with_meta(
            encoded([(tag, wrong_vr if tag == wrong else vr, value) for tag, vr, value in listed]), EXPLICIT
        )

    write(folder, make)
    return read(Stack().truth())


@case()
def sequences_of_undefined_length(folder: Path) -> Expected:
    """Sequences and items ended by delimiters, nested, before and behind what counts (PS3.5 7.5)."""
    begin, end = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF), struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
    close = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    code = encoded([(0x00080100, b"SH", b"AB")])
    inner = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + begin + code + end + close
    sequence = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + begin + code + inner + end + close

    def make(listed, k):
        early = [entry for entry in listed if entry[0] < 0x00081140]
        late = [entry for entry in listed if entry[0] > 0x00081140]
        return with_meta(encoded(early) + sequence + encoded(late), EXPLICIT)

    write(folder, make)
    return read(Stack().truth(), proof=BOTH)


@case()
def private_elements_and_overlays(folder: Path) -> Expected:
    """Private groups, an overlay and padding behind the pixels change nothing."""
    overlay = [(0x60000010, b"US", b"\6\0"), (0x60000011, b"US", b"\5\0"), (0x60003000, b"OW", b"\xff\xff\xff\xff")]

    def make(listed, k):
        private = [(0x00090010, b"LO", b"ACME"), (0x00091001, b"OB", b"\xff" * 64)]
        early = [entry for entry in listed if entry[0] < 0x00090010]
        late = [entry for entry in listed if 0x00090010 < entry[0] < 0x7FE00010]
        body = [*early, *private, *late, *overlay, listed[-1], (0xFFFCFFFC, b"OB", b"\0" * 100)]
        return with_meta(encoded(body), EXPLICIT)

    write(folder, make)
    return read(Stack().truth(), proof=BOTH)


@case()
def pixel_data_of_odd_length(folder: Path) -> Expected:
    """8-bit pixels of odd number without the pad byte (against PS3.5 7.1.1): all pixels are there, so they are read."""
    stack = Stack(stored=np.random.default_rng(1).integers(0, 256, (1, 5, 5)), step=(0, 0, 1))
    changed = {"x00280100": b"\x08\0", "x00280101": b"\x08\0", "x00280102": b"\x07\0"}
    listed = elements(stack, 0, **changed)
    pixels = stack.stored.astype("u1").tobytes()
    (folder / "a").write_bytes(with_meta(encoded([*listed[:-1], (0x7FE00010, b"OB", pixels)]), EXPLICIT))
    return read(stack.truth())


@case()
def pixel_data_with_padding(folder: Path) -> Expected:
    """More bytes than the image needs are padding (PS3.5 8.1.1)."""

    def make(listed, k):
        tag, vr, value = listed[-1]
        return with_meta(encoded([*listed[:-1], (tag, vr, value + b"\xee" * 64)]), EXPLICIT)

    write(folder, make)
    return read(Stack().truth(), proof=(SITK,))


@case(variants={"before_the_pixels": 0x00104000, "at_the_pixels": 0x7FE00010})
def absurd_element_length(folder: Path, at: int) -> Expected:
    """An element that claims 4 GB swallows the pixels, or runs beyond the file: refused, never read without them."""
    listed = elements(Stack(), 0)
    early = [entry for entry in listed if entry[0] < at]
    late = [entry for entry in listed if entry[0] >= at]
    swallow = struct.pack("<HH2sHL", at >> 16, at & 0xFFFF, b"OW" if at > 2**30 else b"UT", 0, 0xFFFFFFF0)
    pixels = listed[-1][2][:-2] if at > 2**30 else encoded(late)
    (folder / "a").write_bytes(with_meta(encoded(early) + swallow + pixels, EXPLICIT))
    return refuse("TRUNCATED_PIXELS" if at > 2**30 else "NO_PIXELS")


@case(variants={"mpeg": "1.2.840.10008.1.2.4.100", "private": "1.2.840.113619.5.2", "unknown": "1.2.3.4.5.6"})
def syntax_without_decoder(folder: Path, syntax: str) -> Expected:
    """A transfer syntax that no decoder is known for: refused, since a guess would show noise."""
    explicit = syntax != "1.2.840.113619.5.2"
    (folder / "a").write_bytes(with_meta(encoded(elements(Stack(), 0), explicit=explicit), syntax))
    return refuse("UNSUPPORTED_SYNTAX")


@case()
def no_transfer_syntax(folder: Path) -> Expected:
    """File meta information without its Transfer Syntax UID: the bytes tell the encoding."""

    def make(listed, k):
        whole = with_meta(encoded(listed), EXPLICIT)
        at = whole.index(struct.pack("<HH", 2, 0x10))
        return whole[:at] + whole[at + 8 + len(text(EXPLICIT, b"\0")) :]

    write(folder, make)
    return read(Stack().truth())


@case()
def deep_sequences(folder: Path) -> Expected:
    """Sequences nested 3000 deep, which exhaust any recursion: refused, and the run goes on."""
    nest = struct.pack("<HH2sHLHHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
    early = [entry for entry in elements(Stack(), 0) if entry[0] < 0x0040A730]
    (folder / "a").write_bytes(with_meta(encoded(early) + nest * 3000, EXPLICIT))
    return refuse("CORRUPT_FILE")
