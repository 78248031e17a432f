"""Compressed transfer syntaxes: frames encoded here, RLE by hand and the others by imagecodecs, and encapsulated."""

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from pydicom import uid

from tests.pipeline.ingest.truth.case import HIGHDICOM, SITK, Expected, Truth, case, read, refuse
from tests.pipeline.ingest.truth.colour import coloured
from tests.pipeline.ingest.truth.colour import truth as in_colour
from tests.pipeline.ingest.truth.dicom import Stack, image, numbers, save, single
from tests.pipeline.ingest.truth.encoders import (
    LOSSLESS,
    OLD,
    SHAPE,
    htj2k,
    jpeg_2000,
    packed_bits,
    put,
    rle,
    text,
)


def stack_in(folder: Path, name: str, stored: np.ndarray, bits: int, signed: bool = False, width: int = 16) -> Stack:
    """A CT stack of so many bits, each slice compressed; signed numbers go in as two's complement of that many bits."""
    syntax, encode = LOSSLESS[name]
    stack = Stack(stored=stored, tags={})
    for k, values in enumerate(stored):
        module = image(values, width, bits, signed)
        kept = (values & (2**bits - 1)).astype(f"u{width // 8}")
        if signed and (encode in (jpeg_2000, htj2k)):
            kept = values.astype(f"i{width // 8}")
        made = stack.dataset(k, **module)
        path = save(put(made, [encode(kept, bits)]), folder / f"{k}.dcm", syntax=uid.JPEG2000Lossless)
        path.write_bytes(path.read_bytes().replace(text(uid.JPEG2000Lossless), text(syntax)))
    return stack


@case(row=25, variants={name: name for name in LOSSLESS})
def twelve_bits_in(folder: Path, name: str) -> Expected:
    """12 of 16 bits, without loss: bit for bit what was put in."""
    stack = stack_in(folder, name, numbers((3, *SHAPE)), 12)
    return read(stack.truth(), proof=(SITK,) if name in OLD else ())


@case(variants={name: name for name in LOSSLESS})
def sixteen_bits_in(folder: Path, name: str) -> Expected:
    """The full range of 16 bits, without loss."""
    stack = stack_in(folder, name, numbers((3, *SHAPE), 65536), 16)
    return read(stack.truth(), proof=(SITK,) if name in OLD else ())


@case(variants={name: name for name in LOSSLESS})
def eight_bits_in(folder: Path, name: str) -> Expected:
    """8 bits, without loss."""
    stack = stack_in(folder, name, numbers((3, *SHAPE), 256), 8, width=8)
    return read(stack.truth(), proof=(HIGHDICOM,) if name == "jpeg_2000_lossless" else ())


@case(variants={name: name for name in LOSSLESS})
def signed_16_bits_in(folder: Path, name: str) -> Expected:
    """Signed 16 bits: the header says the sign, whatever the codestream can (PS3.5 8.2)."""
    stack = stack_in(folder, name, numbers((3, *SHAPE), 32768, -32768), 16, signed=True)
    return read(stack.truth(), proof=(HIGHDICOM,) if name == "jpeg_2000_lossless" else ())


@case(
    variants={name: name for name in LOSSLESS if name != "htj2k_rpcl"},
)
def signed_12_bits_in(folder: Path, name: str) -> Expected:
    """Signed 12 of 16 bits, the upper 4 not extended."""
    stack = stack_in(folder, name, numbers((3, *SHAPE), 2048, -2048), 12, signed=True)
    return read(stack.truth(), proof=())


@case()
def signed_numbers_in_an_unsigned_codestream(folder: Path) -> Expected:
    """JPEG 2000 whose codestream says unsigned while the header says signed: the header's two's complement counts."""
    values = numbers((1, *SHAPE), 32768, -32768)
    stack = Stack(stored=values, step=(0, 0, 5))
    made = stack.dataset(0, **image(values[0], bits=16, signed=True))
    save(put(made, [jpeg_2000(values[0].astype("<i2").view("<u2"), 16)]), folder / "a.dcm", syntax=uid.JPEG2000Lossless)
    return read(stack.truth())


@case(row=25)
def every_other_slice_compressed(folder: Path) -> Expected:
    """Slices of one series may come in different transfer syntaxes."""
    stack = Stack()
    for k in range(8):
        made = stack.dataset(k)
        if k % 2:
            put(made, [rle(stack.stored[k].astype("u2"), 12)])
        save(made, folder / f"{k}.dcm", syntax=uid.RLELossless if k % 2 else uid.ExplicitVRLittleEndian)
    return read(stack.truth(), proof=(HIGHDICOM,))


SMOOTH = np.add.outer(np.arange(32) * 3, np.arange(32) * 4)


@case(
    variants={
        "jpeg_baseline": (uid.JPEGBaseline8Bit, "jpeg8", {"level": 100}, 2),
        "jpeg_extended_12": (uid.JPEGExtended12Bit, "jpeg8", {"level": 100, "bitspersample": 12}, 4),
        "jpeg_2000": (uid.JPEG2000, "jpeg2k", {"level": 95, "codecformat": "J2K"}, 6),
        "htj2k": (uid.HTJ2K, "htj2k", {"level": 0.0001, "reversible": False}, 12),
    }
)
def lossy(folder: Path, syntax: str, codec: str, how: dict[str, Any], tolerance: float) -> Expected:
    """Lossy compression of a smooth radiograph: within a few grey levels."""
    bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
    stored = (SMOOTH * (1 if bits == 8 else 16)).astype("u1" if bits == 8 else "u2")
    made = single("DX", "1.1", image(stored, 8 if bits == 8 else 16, bits))
    encode = getattr(imagecodecs, f"{codec}_encode")
    save(put(made, [bytes(encode(stored, **how))]), folder / "a.dcm", syntax=syntax)
    proof = () if syntax == uid.HTJ2K else (SITK,)
    return read(Truth(stored.T[:, :, None], None, "DX", tolerance=tolerance), proof=proof)


@case(variants={"2": 2, "5": 5})
def jpeg_ls_near_lossless(folder: Path, near: int) -> Expected:
    """JPEG-LS near-lossless: no pixel is off by more than NEAR (ITU-T T.87)."""
    stored = numbers(SHAPE, 256).astype("u1")
    made = single("DX", "1.1", image(stored, 8, 8))
    codestream = bytes(imagecodecs.jpegls_encode(stored, level=near))
    save(put(made, [codestream]), folder / "a.dcm", syntax=uid.JPEGLSNearLossless)
    return read(Truth(stored.T[:, :, None], None, "DX", tolerance=near), proof=(SITK,))


@case()
def monochrome1_in_jpeg_2000(folder: Path) -> Expected:
    """Compression and polarity are two things."""
    stored = numbers(SHAPE).astype("u2")
    made = single("CR", "1", image(stored), PhotometricInterpretation="MONOCHROME1")
    save(put(made, [jpeg_2000(stored, 12)]), folder / "a.dcm", syntax=uid.JPEG2000Lossless)
    return read(Truth((4095 - stored.astype(int)).T[:, :, None], None, "CR", True))


COLOURS = np.stack([SMOOTH, 255 - SMOOTH // 2, SMOOTH // 3 + 40], axis=-1).astype("u1")
J2K = {"codecformat": "J2K", "level": 0, "reversible": True}
BEST = {"level": 100}
AS_RGB = {"colorspace": "RGB", "outcolorspace": "RGB"}


@case(
    variants={
        "rct": ("YBR_RCT", uid.JPEG2000Lossless, "jpeg2k", {**J2K, "mct": True}, 0),
        "j2k_rgb": ("RGB", uid.JPEG2000Lossless, "jpeg2k", {**J2K, "mct": False}, 0),
        "ict": ("YBR_ICT", uid.JPEG2000, "jpeg2k", {**J2K, "level": 60, "reversible": False, "mct": True}, 8),
        "htj2k_rct": ("YBR_RCT", uid.HTJ2KLossless, "htj2k", {"reversible": True, "rgb": True}, 0),
        "jpeg_ls": ("RGB", uid.JPEGLSLossless, "jpegls", {"level": 0}, 0),
        "jpeg_lossless": ("RGB", uid.JPEGLosslessSV1, "jpeg8", {"lossless": True, "predictor": 1, **AS_RGB}, 0),
        "jpeg_422": ("YBR_FULL_422", uid.JPEGBaseline8Bit, "jpeg8", {**BEST, "subsampling": "422"}, 8),
        "jpeg_444": ("YBR_FULL", uid.JPEGBaseline8Bit, "jpeg8", {**BEST, "subsampling": "444"}, 8),
        "jpeg_rgb": ("RGB", uid.JPEGBaseline8Bit, "jpeg8", {**BEST, **AS_RGB}, 8),
    }
)
def colour(folder: Path, photometric: str, syntax: str, codec: str, how: dict[str, Any], tolerance: float) -> Expected:
    """Compressed colour is brought to RGB from the space its photometric interpretation names (PS3.5 8.2)."""
    made = single("US", "6.1", coloured(COLOURS, photometric))
    encode = getattr(imagecodecs, f"{codec}_encode")
    save(put(made, [bytes(encode(COLOURS, **how))]), folder / "a.dcm", syntax=syntax)
    return read(in_colour(COLOURS.astype(int), tolerance=tolerance))


@case()
def rle_colour(folder: Path) -> Expected:
    """RLE keeps a segment for each channel (PS3.5 G.2)."""
    segments = [packed_bits(COLOURS[:, :, n].tobytes()) for n in range(3)]
    starts = [64, 64 + len(segments[0]), 64 + len(segments[0]) + len(segments[1])]
    codestream = struct.pack("<16L", 3, *starts, *[0] * 12) + b"".join(segments)
    made = single("US", "6.1", coloured(COLOURS))
    save(put(made, [codestream]), folder / "a.dcm", syntax=uid.RLELossless)
    return read(in_colour(COLOURS.astype(int)), proof=(SITK,))


@case(variants={name: name for name in OLD})
def last_fragment_cut(folder: Path, name: str) -> Expected:
    """The file ends within a fragment: refused, whatever a decoder would make of it."""
    stack_in(folder, name, numbers((3, *SHAPE)), 12)
    path = folder / "2.dcm"
    path.write_bytes(path.read_bytes()[:-40])
    return refuse("TRUNCATED_PIXELS")


@case(variants={name: name for name in ("rle", "jpeg_lossless_sv1", "jpeg_ls", "jpeg_2000_lossless", "htj2k_lossless")})
def codestream_cut_within_its_fragment(folder: Path, name: str) -> Expected:
    """A whole fragment around half a codestream: refused where pixels are missing."""
    syntax, encode = LOSSLESS[name]
    values = numbers((1, *SHAPE))
    whole = encode(values[0].astype("u2"), 12)
    made = Stack(stored=values).dataset(0)
    save(put(made, [whole[: len(whole) // 2]]), folder / "a.dcm", syntax=syntax)
    return refuse("DECODE_FAILED")
