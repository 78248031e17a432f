"""Tiny radiographs made on the fly, in every transfer syntax that is read."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

from pipeline.ingest.syntaxes import DEFLATED_FRAMES

Image = npt.NDArray[np.uint16]
ROWS, COLUMNS = 32, 40


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a frame is encoded.

    Attributes:
        encode: From the frame to a codestream; None where pydicom writes it.
        bits: Stored bits.
        tolerance: By how many grey levels the decoded frame may differ.
    """

    encode: Callable[[npt.NDArray[np.generic]], bytes] | None = None
    bits: int = 12
    tolerance: float = 0


def _deflated(frame: npt.NDArray[np.generic]) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(frame.tobytes()) + packer.flush()


def _jpeg_2000(frame: npt.NDArray[np.generic]) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(frame, level=0, codecformat="J2K", reversible=True, bitspersample=12))


LOSSLESS_JPEG = Encoding(lambda frame: bytes(imagecodecs.ljpeg_encode(frame, bitspersample=12)))
HTJ2K = Encoding(lambda frame: bytes(imagecodecs.htj2k_encode(frame, reversible=True)))
ENCODINGS: dict[str, Encoding] = {
    str(uid.ImplicitVRLittleEndian): Encoding(),
    str(uid.ExplicitVRLittleEndian): Encoding(),
    str(uid.ExplicitVRBigEndian): Encoding(),
    str(uid.DeflatedExplicitVRLittleEndian): Encoding(),
    str(uid.RLELossless): Encoding(),
    str(uid.JPEGBaseline8Bit): Encoding(lambda frame: bytes(imagecodecs.jpeg8_encode(frame, level=100)), 8, 2),
    str(uid.JPEGExtended12Bit): Encoding(
        lambda frame: bytes(imagecodecs.jpeg8_encode(frame, level=100, bitspersample=12)), 12, 4
    ),
    str(uid.JPEGLossless): LOSSLESS_JPEG,
    str(uid.JPEGLosslessSV1): LOSSLESS_JPEG,
    str(uid.JPEGLSLossless): Encoding(lambda frame: bytes(imagecodecs.jpegls_encode(frame, level=0))),
    str(uid.JPEGLSNearLossless): Encoding(lambda frame: bytes(imagecodecs.jpegls_encode(frame, level=2)), 12, 2),
    str(uid.JPEG2000Lossless): Encoding(_jpeg_2000),
    str(uid.JPEG2000): Encoding(_jpeg_2000),
    str(uid.HTJ2KLossless): HTJ2K,
    str(uid.HTJ2KLosslessRPCL): HTJ2K,
    str(uid.HTJ2K): HTJ2K,
    DEFLATED_FRAMES: Encoding(_deflated),
}


def smooth_image(bits: int, seed: int = 0) -> Image:
    """A ramp with a bright disc, whose place depends on the seed; shape (ROWS, COLUMNS)."""
    row, column = np.mgrid[:ROWS, :COLUMNS]
    ramp = (row * 3 + column * 2) * 2 ** (bits - 8)
    disc = np.hypot(row - 8 - seed % 16, column - 20) < 6
    image: Image = (ramp + disc * 2 ** (bits - 4)).astype(np.uint16)
    return image


def write_radiograph(path: Path, syntax: str = str(uid.ExplicitVRLittleEndian), seed: int = 0) -> Image:
    """Write a radiograph without identity.

    Returns:
        Its pixels, shape (ROWS, COLUMNS).
    """
    encoding = ENCODINGS[syntax]
    image = smooth_image(encoding.bits, seed)
    frame = image.astype("u1" if encoding.bits == 8 else ">u2" if syntax == uid.ExplicitVRBigEndian else "<u2")
    ds = _header(encoding.bits, f"1.2.826.0.1.3680043.10.999.{seed + 1}")
    ds.file_meta.TransferSyntaxUID = uid.UID(uid.ExplicitVRLittleEndian if syntax == uid.RLELossless else syntax)
    if encoding.encode is None:
        ds.PixelData = frame.tobytes()
        ds["PixelData"].VR = "OW"
        if syntax == uid.RLELossless:
            ds.compress(uid.RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    else:
        ds.PixelData = encapsulate([encoding.encode(frame)])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    if syntax != DEFLATED_FRAMES:
        ds.save_as(path, enforce_file_format=True)
        return image
    ds.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless  # pydicom does not write the other one: it is put in later
    ds.save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes().replace(uid.JPEG2000Lossless.encode(), DEFLATED_FRAMES.encode() + b"\0"))
    return image


def _header(bits: int, root: str) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = uid.ComputedRadiographyImageStorage, f"{root}.1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{root}.2", f"{root}.3"
    ds.Modality, ds.InstanceNumber, ds.PatientID = "CR", 1, "DOCTOR"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns, ds.PixelRepresentation = ROWS, COLUMNS, 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 if bits == 8 else 16, bits, bits - 1
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return ds
