"""Encoders of compressed frames: RLE by hand, the others by imagecodecs; and how they are encapsulated."""

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from tests.pipeline.ingest.truth.dicom import padded

Encode = Callable[[np.ndarray, int], bytes]

SHAPE = (16, 20)

DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"  # which this version of pydicom does not write


def packed_bits(row: bytes) -> bytes:
    """PackBits with literal runs alone (PS3.5 G.3)."""
    runs = [row[at : at + 128] for at in range(0, len(row), 128)]
    return padded(b"".join(bytes([len(run) - 1]) + run for run in runs))


def rle(frame: np.ndarray, bits: int) -> bytes:
    """A segment for each byte of a pixel, the highest first (PS3.5 G.2)."""
    planes = frame.astype(f">u{frame.itemsize}").reshape(-1, 1).view("u1").reshape(frame.size, -1)
    segments = [packed_bits(planes[:, n].tobytes()) for n in range(planes.shape[1])]
    starts = [64 + sum(map(len, segments[:n])) for n in range(len(segments))]
    return struct.pack("<16L", len(segments), *starts, *[0] * (15 - len(segments))) + b"".join(segments)


def jpeg_lossless(frame: np.ndarray, bits: int) -> bytes:
    return bytes(imagecodecs.ljpeg_encode(frame, bitspersample=bits))


def jpeg_ls(frame: np.ndarray, bits: int) -> bytes:
    return bytes(imagecodecs.jpegls_encode(frame, level=0))


def jpeg_2000(frame: np.ndarray, bits: int) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(frame, level=0, codecformat="J2K", reversible=True, bitspersample=bits))


def htj2k(frame: np.ndarray, bits: int) -> bytes:
    return bytes(imagecodecs.htj2k_encode(frame, reversible=True))


def deflated_frame(frame: np.ndarray, bits: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(frame.tobytes()) + packer.flush()


LOSSLESS: dict[str, tuple[str, Encode]] = {
    "rle": (uid.RLELossless, rle),
    "jpeg_lossless": (uid.JPEGLossless, jpeg_lossless),
    "jpeg_lossless_sv1": (uid.JPEGLosslessSV1, jpeg_lossless),
    "jpeg_ls": (uid.JPEGLSLossless, jpeg_ls),
    "jpeg_2000_lossless": (uid.JPEG2000Lossless, jpeg_2000),
    "jpeg_2000": (uid.JPEG2000, jpeg_2000),
    "htj2k_lossless": (uid.HTJ2KLossless, htj2k),
    "htj2k_rpcl": (uid.HTJ2KLosslessRPCL, htj2k),
    "deflated_frames": (DEFLATED_FRAMES, deflated_frame),
}

OLD = ("rle", "jpeg_lossless", "jpeg_lossless_sv1", "jpeg_ls", "jpeg_2000_lossless", "jpeg_2000")


def put(made: Dataset, frames: Sequence[bytes], **how: Any) -> Dataset:
    """A data set with its pixel data encapsulated."""
    made.PixelData = encapsulate([padded(frame) for frame in frames], **how)
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    return made


def text(syntax: str) -> bytes:
    """A UID as it stands in file meta information, with the VR and length before it."""
    value = padded(syntax.encode())
    return b"UI" + struct.pack("<H", len(value)) + value
