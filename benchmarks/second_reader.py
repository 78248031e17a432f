"""A second reading of DICOM pixels, sharing no decoder and no arithmetic with `pipeline`.

Uncompressed pixels are unpacked here with numpy. RLE, JPEG and JPEG-LS go through DCMTK's programs (dcmdrle, dcmdjpeg,
dcmdjpls), HTJ2K through imagecodecs' OpenJPH. JPEG 2000 goes through imagecodecs' OpenJPEG: a second build of
the family that `pipeline` uses, since there is no other permissive one; its lossless images are held against the
uncompressed originals that lie beside them. Colour, palettes, tables and functional groups are worked out here too.
"""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import generate_frames

DCMTK = {
    uid.RLELossless: "dcmdrle",
    uid.JPEGBaseline8Bit: "dcmdjpeg",
    uid.JPEGExtended12Bit: "dcmdjpeg",
    uid.JPEGLossless: "dcmdjpeg",
    uid.JPEGLosslessSV1: "dcmdjpeg",
    uid.JPEGLSLossless: "dcmdjpls",
    uid.JPEGLSNearLossless: "dcmdjpls",
}
WAVELET = {uid.JPEG2000Lossless, uid.JPEG2000}
WAVELET_HT = {uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K}
LOSSY = {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K}


class NoSecondReaderError(Exception):
    """The second reader cannot read a file; the message says why."""


@dataclass(frozen=True)
class Second:
    """What the second reader made of a file.

    Attributes:
        dataset: The header, as pydicom reads it.
        stored: Stored values, (F, rows, columns), or (F, rows, columns, 3) red, green, blue.
        lossy: Whether the encoding loses something, so that decoders may differ.
        converted: Whether colour was converted from YBR, which decoders round differently.
        decoder: Who decoded.
    """

    dataset: pydicom.Dataset
    stored: np.ndarray
    lossy: bool
    converted: bool
    decoder: str


def read_second(path: Path) -> Second:
    """Decode all frames of a file.

    Raises:
        NoSecondReaderError: If that is not possible.
    """
    dataset = pydicom.dcmread(path, force=True)
    syntax = uid.UID(dataset.file_meta.get("TransferSyntaxUID", "") if hasattr(dataset, "file_meta") else "")
    if "PixelData" not in dataset:
        raise NoSecondReaderError("no integer pixels")
    colours = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    if syntax in DCMTK:
        decoder = DCMTK[syntax]
        frames, colours = _by_dcmtk(path, decoder)
    elif syntax in WAVELET | WAVELET_HT:
        decoder = "imagecodecs OpenJPH" if syntax in WAVELET_HT else "imagecodecs OpenJPEG"
        frames = _by_imagecodecs(dataset, syntax in WAVELET_HT)
        colours = "RGB" if frames.ndim == 4 and colours in ("YBR_ICT", "YBR_RCT") else colours
    else:
        decoder, frames = "numpy", _unpacked(dataset)
    stored = _stored(frames, dataset)
    converted = colours in ("YBR_FULL", "YBR_FULL_422")
    if converted:
        stored = _red_green_blue(stored, int(dataset.BitsStored))
    return Second(dataset, stored, syntax in LOSSY, converted, decoder)


def _by_dcmtk(path: Path, program: str) -> tuple[np.ndarray, str]:
    found = shutil.which(program)
    if not found:
        raise NoSecondReaderError(f"{program} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.dcm"
        done = subprocess.run([found, str(path), str(out)], capture_output=True, timeout=60, check=False)
        if done.returncode or not out.exists():
            raise NoSecondReaderError(f"{program} refuses it")
        plain = pydicom.dcmread(out, force=True)
        return _unpacked(plain), str(plain.PhotometricInterpretation)


def _by_imagecodecs(dataset: pydicom.Dataset, ht: bool) -> np.ndarray:
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    decode = imagecodecs.htj2k_decode if ht else imagecodecs.jpeg2k_decode
    try:
        return np.stack([decode(frame) for frame in generate_frames(dataset.PixelData, number_of_frames=count)])
    except (RuntimeError, ValueError) as error:
        raise NoSecondReaderError(f"imagecodecs refuses it ({type(error).__name__})") from error


def _unpacked(dataset: pydicom.Dataset) -> np.ndarray:
    """Uncompressed pixels as they lie in the file, (F, rows, columns[, 3]).

    Source:
        DICOM PS3.5 chapter 8 and annex D, PS3.3 C.7.6.3.1.
    """
    content = dataset.PixelData
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    rows, columns, samples = int(dataset.Rows), int(dataset.Columns), int(dataset.get("SamplesPerPixel", 1))
    allocated = int(dataset.BitsAllocated)
    implicit, little = dataset.original_encoding
    if allocated == 8 and not little and dataset["PixelData"].VR == "OW":
        content = np.frombuffer(content, "u2").byteswap().tobytes()
    if allocated == 1:
        flat = np.unpackbits(np.frombuffer(content, "u1"), bitorder="little")
    else:
        width = allocated // 8
        flat = np.frombuffer(content, f"{'<' if little else '>'}u{width}", count=len(content) // width)
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        pairs = flat[: count * rows * columns * 2].reshape(count, rows, columns // 2, 4)  # Y Y Cb Cr
        return np.stack([pairs[..., [0, 1]], pairs[..., [2, 2]], pairs[..., [3, 3]]], -1).reshape(
            count, rows, columns, 3
        )
    needed = count * rows * columns * samples
    if len(flat) < needed:
        raise NoSecondReaderError("fewer pixels than the header says")
    flat = flat[:needed]
    if samples == 1:
        return flat.reshape(count, rows, columns)
    if dataset.get("PlanarConfiguration", 0):
        return np.moveaxis(flat.reshape(count, samples, rows, columns), 1, -1)
    return flat.reshape(count, rows, columns, samples)


def _stored(frames: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Bits Stored below High Bit, with the sign of two's complement."""
    bits = int(dataset.get("BitsStored", dataset.BitsAllocated))
    high = int(dataset.get("HighBit", bits - 1))
    values = (frames.astype(np.int64) >> max(0, high + 1 - bits)) & ((1 << bits) - 1)
    if dataset.get("PixelRepresentation") == 1:
        values = np.where(values >= 1 << (bits - 1), values - (1 << bits), values)
    return values


def _red_green_blue(stored: np.ndarray, bits: int) -> np.ndarray:
    """YBR_FULL as RGB.

    Source:
        DICOM PS3.3 C.7.6.3.1.2, solved for R, G and B (ITU-R BT.601).
    """
    luma, blue, red = (stored[..., n].astype(float) for n in range(3))
    middle = 1 << (bits - 1)
    rgb = [
        luma + 1.402 * (red - middle),
        luma - (0.114 * 1.772 / 0.587) * (blue - middle) - (0.299 * 1.402 / 0.587) * (red - middle),
        luma + 1.772 * (blue - middle),
    ]
    return np.stack(rgb, -1).round().clip(0, (1 << bits) - 1).astype(np.int64)


def values(second: Second, *, inverted: bool) -> np.ndarray:
    """Modality values or colours of all frames, (F, rows, columns[, 3]) float64.

    Args:
        second: What was decoded.
        inverted: Whether a MONOCHROME1 radiograph is to be turned.
    """
    dataset, stored = second.dataset, second.stored
    bits = int(dataset.BitsStored)
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        return np.stack([_palette(stored, dataset, name) for name in ("Red", "Green", "Blue")], -1)
    if stored.ndim == 4:
        return stored * (255 / ((1 << bits) - 1))
    if inverted:
        stored = (-1 if dataset.get("PixelRepresentation") == 1 else (1 << bits) - 1) - stored
    return np.stack([_modality(stored[n], dataset, n) for n in range(len(stored))])


def _modality(frame: np.ndarray, dataset: pydicom.Dataset, index: int) -> np.ndarray:
    """Modality LUT, or the rescale of the frame's functional groups or of the top level."""
    if "ModalityLUTSequence" in dataset:
        item = dataset.ModalityLUTSequence[0]
        entries, first, bits = (int(value) for value in item.LUTDescriptor)
        table = _words(item["LUTData"].value, entries or 1 << 16, bits, dataset.original_encoding[1])
        return table[np.clip(frame - first, 0, len(table) - 1)].astype(float)
    place = group(dataset, index, "PixelValueTransformationSequence") or dataset
    return frame * float(place.get("RescaleSlope", 1)) + float(place.get("RescaleIntercept", 0))


def group(dataset: pydicom.Dataset, index: int, sequence: str) -> pydicom.Dataset | None:
    """The first item of a sequence in the frame's functional groups, else in the shared ones."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for place in (*own[index : index + 1], *shared[:1]):
        if place.get(sequence):
            return place[sequence].value[0]
    return None


def _palette(stored: np.ndarray, dataset: pydicom.Dataset, name: str) -> np.ndarray:
    entries, first, bits = (int(v) for v in dataset[f"{name}PaletteColorLookupTableDescriptor"].value)
    entries = entries or 1 << 16
    little = dataset.original_encoding[1]
    segments = dataset.get(f"Segmented{name}PaletteColorLookupTableData")
    if segments is not None:
        table = _expanded(_words(segments, 0, bits, little))
    else:
        table = _words(dataset[f"{name}PaletteColorLookupTableData"].value, entries, bits, little)
    return table[np.clip(stored - first, 0, len(table) - 1)] * (255 / ((1 << bits) - 1))


def _words(content: object, entries: int, bits: int, little: bool) -> np.ndarray:
    """LUT data as numbers: bytes of 8 or 16 bits, or numbers already."""
    if not isinstance(content, bytes):
        return np.atleast_1d(np.asarray(content, np.int64))
    eight = bits == 8 and len(content) <= entries + entries % 2
    table = np.frombuffer(content, "u1" if eight else "<u2" if little else ">u2").astype(np.int64)
    return table[:entries] if entries else table


def _expanded(codes: np.ndarray) -> np.ndarray:
    """Segments as a table: discrete (0), linear (1) and indirect (2).

    Source:
        DICOM PS3.3 C.7.9.2.
    """
    table: list[float] = []
    at = 0
    while at < len(codes):
        kind, length = int(codes[at]), int(codes[at + 1])
        if kind == 0:
            table += codes[at + 2 : at + 2 + length].tolist()
            at += 2 + length
        elif kind == 1:
            table += np.linspace(table[-1], int(codes[at + 2]), length + 1)[1:].tolist()
            at += 3
        else:
            raise NoSecondReaderError("indirect segments")
    return np.asarray(table)
