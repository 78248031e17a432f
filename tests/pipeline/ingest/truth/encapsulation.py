"""Fragments and offset tables of compressed pixel data, right, wrong and missing."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate_extended

from tests.pipeline.ingest.truth.case import Expected, Truth, case, read, refuse
from tests.pipeline.ingest.truth.dicom import Stack, image, numbers, padded, save, single
from tests.pipeline.ingest.truth.encoders import (
    SHAPE,
    Encode,
    jpeg_2000,
    jpeg_lossless,
    jpeg_ls,
    put,
)

FRAMES = numbers((4, *SHAPE), 256).astype("u1")


def cine(frames: Sequence[np.ndarray] = FRAMES) -> Dataset:
    return single("US", "3.1", image(np.stack(frames), 8, 8))


def cine_truth() -> Truth:
    return Truth(FRAMES.astype(int).transpose(2, 1, 0), None, "US")


@case(
    variants={
        "one_fragment_a_frame": {},
        "three_fragments_a_frame": {"fragments_per_frame": 3},
        "no_offset_table": {"has_bot": False},
        "three_fragments_no_offset_table": {"fragments_per_frame": 3, "has_bot": False},
    }
)
def fragments(folder: Path, how: dict[str, Any]) -> Expected:
    """Frames are told apart by the offset table, their number, or the marker that ends a codestream (PS3.5 A.4)."""
    save(put(cine(), [jpeg_2000(frame, 8) for frame in FRAMES], **how), folder / "a.dcm", syntax=uid.JPEG2000Lossless)
    return read(cine_truth())


@case(variants={"one_fragment": 1, "two_fragments": 2})
def wrong_offset_table(folder: Path, each: int) -> Expected:
    """An offset table that points nowhere is set aside where fragments or markers tell frames apart."""
    made = put(cine(), [jpeg_2000(frame, 8) for frame in FRAMES], fragments_per_frame=each)
    table = made.PixelData
    made.PixelData = table[:8] + struct.pack("<4L", 0, 7, 9, 11) + table[24:]
    save(made, folder / "a.dcm", syntax=uid.JPEG2000Lossless)
    return read(cine_truth())


@case()
def extended_offset_table(folder: Path) -> Expected:
    """Extended Offset Table instead of the basic one (PS3.3 C.7.6.3.1.8)."""
    made = cine()
    value, offsets, lengths = encapsulate_extended([padded(jpeg_2000(frame, 8)) for frame in FRAMES])
    put(made, [b"\0\0"])
    made.PixelData, made.ExtendedOffsetTable, made.ExtendedOffsetTableLengths = value, offsets, lengths
    save(made, folder / "a.dcm", syntax=uid.JPEG2000Lossless)
    return read(cine_truth())


@case(variants={"missing": tuple(FRAMES[:3]), "none": ()})
def too_few_frames(folder: Path, *kept: np.ndarray) -> Expected:
    """Fewer fragments than frames: refused."""
    made = put(cine(), [jpeg_2000(frame, 8) for frame in kept] or [b"\0\0"])
    if not kept:
        made.PixelData = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
    save(made, folder / "a.dcm", syntax=uid.JPEG2000Lossless)
    return refuse("TRUNCATED_PIXELS")


@case(variants={"jpeg_2000": (uid.JPEG2000Lossless, jpeg_2000), "jpeg_ls": (uid.JPEGLSLossless, jpeg_ls),
                "jpeg_lossless": (uid.JPEGLosslessSV1, jpeg_lossless)})  # fmt: skip
def codestream_larger_than_the_header(folder: Path, syntax: str, encode: Encode) -> Expected:
    """A codestream of another size than the header declares: refused before it is decoded."""
    made = single("DX", "1.1", image(FRAMES[0], 8, 8), Rows=8, Columns=8)
    save(put(made, [encode(FRAMES[0], 8)]), folder / "a.dcm", syntax=syntax)
    return refuse("CORRUPT_FILE")


@case()
def uncompressed_pixels_called_compressed(folder: Path) -> Expected:
    """Pixel data of defined length in a compressed syntax: refused (PS3.5 A.4)."""
    path = save(Stack().dataset(0), folder / "a.dcm")
    whole = path.read_bytes()
    old, new = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"
    path.write_bytes(whole.replace(old, new))
    return refuse("CORRUPT_FILE")
