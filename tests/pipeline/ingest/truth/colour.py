"""Colour of ultrasound, captures and photographs; and what is no colour although it looks so."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.uid import ExplicitVRBigEndian

from tests.pipeline.ingest.truth.case import SITK, Expected, Truth, case, read, refuse
from tests.pipeline.ingest.truth.dicom import CT, Stack, image, numbers, padded, save, single

RGB = numbers((6, 8, 3), 256)
KINDS = {"US": "6.1", "SC": "7", "XC": "77.1.4", "ES": "77.1.1", "OP": "77.1.5.1", "GM": "77.1.2", "DMS": "77.1.4",
         "SM": "77.1.3", "OT": "7", "CT": "7", "MR": "7"}  # fmt: skip


def coloured(pixels: np.ndarray, photometric: str = "RGB", planar: int = 0) -> dict[str, Any]:
    """The Image Pixel module of three samples, (rows, columns, 3) or (frames, rows, columns, 3)."""
    frames = pixels if pixels.ndim == 4 else pixels[None]
    stored = frames.transpose(0, 3, 1, 2) if planar else frames
    module = image(frames[..., 0], 8, 8)
    module.update(SamplesPerPixel=3, PhotometricInterpretation=photometric, PlanarConfiguration=planar)
    module["PixelData"] = padded(stored.astype(np.uint8).tobytes())
    if pixels.ndim == 3:
        del module["NumberOfFrames"]
    return module


def truth(pixels: np.ndarray, modality: str = "US", tolerance: float = 0.0) -> Truth:
    """The truth of (rows, columns, 3) or (frames, rows, columns, 3)."""
    frames = pixels if pixels.ndim == 4 else pixels[None]
    return Truth(frames.transpose(2, 1, 0, 3), None, modality, False, tolerance)


def write(folder: Path, module: dict[str, Any], modality: str = "US", **tags: Any) -> None:
    save(single(modality, KINDS[modality], module, **tags), folder / "a.dcm")


@case(variants={name: name for name in KINDS if name not in ("CT", "MR")})
def rgb(folder: Path, modality: str) -> Expected:
    """Colour is the nature of these objects, and is read as three channels of 0..255."""
    write(folder, coloured(RGB), modality)
    return read(truth(RGB, modality), proof=(SITK,) if modality != "SM" else ())


@case(variants={"CT": "CT", "MR": "MR"})
def secondary_capture_of(folder: Path, modality: str) -> Expected:
    """A Secondary Capture (PS3.3 A.8) that bears its source's modality is a picture: read as SC, no place claimed."""
    write(folder, coloured(RGB), modality)
    return read(truth(RGB, "SC"), proof=(SITK,))


@case()
def grey_secondary_capture_in_a_ct_series(folder: Path) -> Expected:
    """A captured dose page within a CT series is a picture beside the volume, and spoils nothing."""
    Stack().write(folder)
    page = numbers((9, 9), 256)
    made = single("CT", "7", image(page, 8, 8), SOPInstanceUID="1.2.3.55", InstanceNumber=99)
    save(made, folder / "z.dcm")
    return read(Stack().truth(), Truth(page.T[:, :, None], None, "SC"))


@case()
def colour_ct(folder: Path) -> Expected:
    """CT Image Storage has one intensity per voxel (PS3.3 C.8.2.1.1.2): colour is refused."""
    save(single("CT", "2", coloured(RGB), ImagePositionPatient=[0, 0, 0]), folder / "a.dcm")
    assert CT.endswith(".2")
    return refuse("UNSUPPORTED_COLOUR")


@case()
def planes(folder: Path) -> Expected:
    """Planar Configuration 1: all red, all green, all blue (PS3.3 C.7.6.3.1.3)."""
    write(folder, coloured(RGB, planar=1))
    return read(truth(RGB), proof=(SITK,))


@case(variants={"interleaved": 0, "planes": 1})
def cine(folder: Path, planar: int) -> Expected:
    """The frames of a cine are a volume without geometry."""
    frames = numbers((4, 6, 8, 3), 256)
    save(single("US", "3.1", coloured(frames, planar=planar)), folder / "a.dcm")
    return read(truth(frames), proof=(SITK,))


@case()
def three_equal_channels(folder: Path) -> Expected:
    """Grey stored as colour is one channel."""
    grey = numbers((6, 8), 256)
    write(folder, coloured(np.stack([grey] * 3, -1)))
    return read(Truth(grey.T[:, :, None], None, "US"))


def ycbcr(pixels: np.ndarray) -> np.ndarray:
    """YBR_FULL of RGB (PS3.3 C.7.6.3.1.2), rounded."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    return np.clip(np.rint(pixels @ matrix.T + [0, 128, 128]), 0, 255)


@case(variants={"interleaved": 0, "planes": 1})
def ybr_full(folder: Path, planar: int) -> Expected:
    """YBR_FULL is turned into RGB; each conversion rounds."""
    write(folder, coloured(ycbcr(RGB), "YBR_FULL", planar))
    return read(truth(RGB, tolerance=2.0))


@case()
def ybr_full_422(folder: Path) -> Expected:
    """YBR_FULL_422 stores one pair of colours for two pixels: Y1 Y2 Cb Cr (PS3.3 C.7.6.3.1.2)."""
    even = np.repeat(RGB[:, ::2], 2, axis=1)
    ybr = ycbcr(even)
    packed = np.stack([ybr[:, ::2, 0], ybr[:, 1::2, 0], ybr[:, ::2, 1], ybr[:, ::2, 2]], -1)
    module = coloured(ybr, "YBR_FULL_422")
    write(folder, {**module, "PixelData": packed.astype(np.uint8).tobytes()})
    return read(truth(even, tolerance=2.0))


@case(variants={"8_bits": 8, "16_bits": 16})
def palette(folder: Path, bits: int) -> Expected:
    """PALETTE COLOR indices are no intensities: the palette is applied (PS3.3 C.7.6.3.1.5), 16 bits become 0..255."""
    indices = numbers((6, 8), 256)
    tables = numbers((3, 256), 2**bits)
    write(folder, {**image(indices, 8, 8), "PhotometricInterpretation": "PALETTE COLOR"}, **palettes(tables, 0, bits))
    colour = tables[:, indices].transpose(1, 2, 0) * (255 / (2**bits - 1))
    return read(truth(colour, tolerance=0.0 if bits == 8 else 1e-4))


@case(variants={"plain": False, "in_segments": True})
def palette_in_big_endian(folder: Path, segmented: bool) -> Expected:
    """Tables are words, which are turned round in a big-endian file (PS3.5 7.3); so is a word of two 8-bit pixels."""
    indices = numbers((6, 8), 256)
    tables = numbers((3, 256), 2**16)
    if segmented:
        ramp = np.array([0, 1, 0, 1, 255, 65535])
        tables = np.tile(np.arange(256) * 257, (3, 1))
    tags: dict[str, Any] = {}
    for name, entries in zip(("Red", "Green", "Blue"), tables, strict=True):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        keyword = f"{'Segmented' if segmented else ''}{name}PaletteColorLookupTableData"
        tags[keyword] = (ramp if segmented else entries).astype(">u2").tobytes()
    module = {**image(indices, 8, 8), "PhotometricInterpretation": "PALETTE COLOR"}
    module["PixelData"] = indices.astype("u1").reshape(-1, 2)[:, ::-1].tobytes()
    made = single("US", KINDS["US"], module, **tags)
    made["PixelData"].VR = "OW"
    save(made, folder / "a.dcm", syntax=ExplicitVRBigEndian)
    if segmented:
        return read(Truth(indices.T[:, :, None], None, "US", tolerance=0.01))
    return read(truth(tables[:, indices].transpose(1, 2, 0) * (255 / 65535), tolerance=1e-4))


def palettes(tables: np.ndarray, first: int, bits: int) -> dict[str, Any]:
    tags: dict[str, Any] = {}
    for name, entries in zip(("Red", "Green", "Blue"), tables, strict=True):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [len(entries), first, bits]
        packed = entries.astype("u1" if bits == 8 else "<u2").tobytes()
        tags[f"{name}PaletteColorLookupTableData"] = padded(packed)
    return tags


@case()
def palette_that_starts_later(folder: Path) -> Expected:
    """Indices before the first and behind the last entry take that entry (PS3.3 C.7.6.3.1.5)."""
    indices = numbers((6, 8), 256)
    tables = numbers((3, 100), 256)
    write(folder, {**image(indices, 8, 8), "PhotometricInterpretation": "PALETTE COLOR"}, **palettes(tables, 50, 8))
    return read(truth(tables[:, np.clip(indices - 50, 0, 99)].transpose(1, 2, 0)))


@case()
def palette_in_segments(folder: Path) -> Expected:
    """A segmented palette (PS3.3 C.7.9.2): one discrete entry, then a ramp of 255 to the end."""
    indices = np.arange(48).reshape(6, 8) * 5
    tags: dict[str, Any] = {}
    for name in ("Red", "Green", "Blue"):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        segments = np.array([0, 1, 0, 1, 255, 65535], dtype="<u2")
        tags[f"Segmented{name}PaletteColorLookupTableData"] = segments.tobytes()
    write(folder, {**image(indices, 8, 8), "PhotometricInterpretation": "PALETTE COLOR"}, **tags)
    return read(Truth(indices.T[:, :, None], None, "US", tolerance=0.01))


@case(variants={"palette": "PALETTE COLOR", "unknown": "PINK", "samples": "RGB"})
def impossible_colour(folder: Path, photometric: str) -> Expected:
    """A palette image without palette, an unknown photometric interpretation, RGB of one sample: refused."""
    write(folder, {**image(numbers((6, 8), 256), 8, 8), "PhotometricInterpretation": photometric})
    return refuse("CORRUPT_HEADER" if photometric == "RGB" else "UNSUPPORTED_COLOUR")


@case()
def supplemental_palette(folder: Path) -> Expected:
    """A supplemental palette colours the display of grey values (PS3.3 C.7.6.19); the values stay grey."""
    stored = numbers((6, 8))
    extra = palettes(numbers((3, 16), 256), 4096, 8)
    write(folder, image(stored), PixelPresentation="MIXED", **extra)
    return read(Truth(stored.T[:, :, None], None, "US"))
