"""A second reading of DICOM pixels, sharing no decoder with `pipeline`.

Uncompressed pixels are unpacked here with numpy. RLE, JPEG and JPEG-LS go through DCMTK's programs (dcmdrle, dcmdjpeg,
dcmdjpls), HTJ2K through imagecodecs' OpenJPH. JPEG 2000, and JPEG-LS that DCMTK refuses, goes through imagecodecs: a
second build of the family that `pipeline` uses, since there is no other permissive one for JPEG 2000; its lossless
images are held against the uncompressed originals beside them by `conformance.py`.
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
MODULE = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
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
        plain = _by_dcmtk(path, decoder) or _rewritten(dataset, decoder)
        if plain:
            frames, colours = plain
        else:
            decoder, frames = _by_charls(dataset)
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


def _by_dcmtk(path: Path, program: str) -> tuple[np.ndarray, str] | None:
    """Pixels and their colour space; None where the program refuses the file."""
    found = shutil.which(program)
    if not found:
        raise NoSecondReaderError(f"{program} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.dcm"
        done = subprocess.run([found, str(path), str(out)], capture_output=True, timeout=60, check=False)
        if done.returncode or not out.exists():
            return None
        plain = pydicom.dcmread(out, force=True)
        return _unpacked(plain), str(plain.PhotometricInterpretation)


def _by_imagecodecs(dataset: pydicom.Dataset, ht: bool) -> np.ndarray:
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    codestreams = list(generate_frames(dataset.PixelData, number_of_frames=count))
    try:
        frames = np.stack([imagecodecs.jpeg2k_decode(frame) for frame in codestreams])
        if not ht:
            return frames
        other = np.stack([imagecodecs.htj2k_decode(frame) for frame in codestreams])
    except (RuntimeError, ValueError) as error:
        raise NoSecondReaderError(f"imagecodecs refuses it ({type(error).__name__})") from error
    whole = np.iinfo(other.dtype).max  # OpenJPH lets lossy values run over the edge, from white to black
    return np.where(np.abs(other.astype(np.int64) - frames) > 0.9 * whole, frames, other)


def _rewritten(dataset: pydicom.Dataset, program: str) -> tuple[np.ndarray, str] | None:
    """The pixels by DCMTK behind a fresh header of the Image Pixel module: DCMTK refuses odd encodings of the rest."""
    fresh = pydicom.Dataset()
    fresh.SOPClassUID, fresh.SOPInstanceUID = uid.SecondaryCaptureImageStorage, "1.2.3"
    for keyword in (*MODULE, "PixelData"):
        if keyword in dataset:
            setattr(fresh, keyword, dataset[keyword].value)
    fresh["PixelData"].VR = "OB"
    fresh["PixelData"].is_undefined_length = True
    fresh.file_meta = pydicom.dataset.FileMetaDataset()
    fresh.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    with tempfile.TemporaryDirectory() as folder:
        fresh.save_as(Path(folder) / "in.dcm", enforce_file_format=True)
        return _by_dcmtk(Path(folder) / "in.dcm", program)


def _by_charls(dataset: pydicom.Dataset) -> tuple[str, np.ndarray]:
    """JPEG-LS that DCMTK refuses."""
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    try:
        frames = [imagecodecs.jpegls_decode(f) for f in generate_frames(dataset.PixelData, number_of_frames=count)]
    except (RuntimeError, ValueError) as error:
        raise NoSecondReaderError("neither DCMTK nor imagecodecs decodes it") from error
    return "imagecodecs CharLS", np.stack(frames)


def _unpacked(dataset: pydicom.Dataset) -> np.ndarray:
    """Uncompressed pixels as they lie in the file, (F, rows, columns[, 3]).

    Source:
        DICOM PS3.5 chapter 8 and annex D, PS3.3 C.7.6.3.1.
    """
    content = dataset.PixelData
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    rows, columns, samples = int(dataset.Rows), int(dataset.Columns), int(dataset.get("SamplesPerPixel", 1))
    allocated = int(dataset.BitsAllocated)
    _, little = dataset.original_encoding
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
