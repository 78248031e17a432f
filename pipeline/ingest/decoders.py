"""Stored pixels of a DICOM file, frame by frame: uncompressed ones directly, others by a named decoder."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import uid
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import Decoder, get_decoder

from pipeline.errors import Reason, ScanError
from pipeline.ingest.budget import require_budget
from pipeline.ingest.dicom_file import DicomFile
from pipeline.ingest.encapsulated import declared_size
from pipeline.ingest.frames import frame_count
from pipeline.ingest.syntaxes import DECODERS, NATIVE

LITTLE_ENDIAN = NATIVE - {str(uid.ExplicitVRBigEndian)}
Stored = npt.NDArray[Any]


def stored_frames(file: DicomFile, wanted: Sequence[int]) -> Iterator[Stored]:
    """Decode the frames wanted, in that order.

    Yields:
        Stored values, shape (rows, columns), or (rows, columns, 3) red, green, blue; palette indices stay indices.

    Raises:
        ScanError: OVER_BUDGET or CORRUPT_FILE if a codestream declares another size than the header.
    """
    dataset = file.dataset
    simple = int(dataset.get("SamplesPerPixel", 1)) == 1 and dataset.BitsAllocated in (8, 16, 32)
    if simple and file.syntax in LITTLE_ENDIAN:
        return _native_frames(file, wanted)
    return _decoded_frames(file, wanted)


def _native_frames(file: DicomFile, wanted: Sequence[int]) -> Iterator[Stored]:
    """Little-endian pixels of one sample, without a decoder."""
    dataset = file.dataset
    shape = (frame_count(dataset), int(dataset.Rows), int(dataset.Columns))
    count = shape[0] * shape[1] * shape[2]
    pixels = np.frombuffer(file.pixel_bytes(), dtype=f"<u{dataset.BitsAllocated // 8}", count=count)
    frames = pixels.reshape(shape)
    for index in wanted:
        yield extend(frames[index], dataset)


def extend(pixels: Stored, dataset: Any) -> Stored:
    """Cut pixels to their Bits Stored below High Bit, and extend the sign of signed ones.

    Args:
        pixels: Unsigned integers of Bits Allocated bits.
        dataset: Header with BitsAllocated, BitsStored, HighBit and PixelRepresentation.
    """
    allocated = int(dataset.BitsAllocated)
    stored = int(dataset.get("BitsStored") or allocated)
    above = allocated - 1 - int(dataset.get("HighBit") or stored - 1)
    signed = dataset.get("PixelRepresentation") == 1
    if stored == allocated:
        return np.asarray(pixels.view(f"<i{allocated // 8}")) if signed else pixels
    if not signed and above == allocated - stored:
        return np.bitwise_and(pixels, (1 << stored) - 1)
    shifted = np.left_shift(pixels, above, dtype=pixels.dtype)
    if signed:
        shifted = shifted.view(f"<i{allocated // 8}")
    return np.right_shift(shifted, allocated - stored)


def _decoded_frames(file: DicomFile, wanted: Sequence[int]) -> Iterator[Stored]:
    dataset = file.dataset
    dataset.PixelData = file.pixel_bytes()
    if file.pixels and file.pixels.vr in ("OB", "OW"):
        dataset["PixelData"].VR = file.pixels.vr  # the byte order of big-endian bytes depends on it
    plugin = DECODERS.get(file.syntax, "")
    if plugin:
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        _require_sizes(file, set(wanted))
    decoder = _decoder(file.syntax)
    for frame, _ in decoder.iter_array(dataset, indices=list(wanted), decoding_plugin=plugin):
        yield frame


def _decoder(syntax: str) -> Decoder:
    decoder = get_decoder(uid.UID(syntax))
    if DECODERS.get(syntax) == "imagecodecs" and "imagecodecs" not in decoder.available_plugins:
        decoder.add_plugin("imagecodecs", ("pipeline.ingest.imagecodecs_plugin", "decode_frame"))
    return decoder


def _require_sizes(file: DicomFile, wanted: set[int]) -> None:
    """Compare each codestream's own size with the header, before a decoder allocates it."""
    if DECODERS[file.syntax] == "pydicom":  # RLE declares no size
        return
    expected = (int(file.dataset.Columns), int(file.dataset.Rows))
    frames = generate_frames(file.dataset.PixelData, number_of_frames=frame_count(file.dataset))
    for index, frame in enumerate(frames):
        if index not in wanted:
            continue
        size = declared_size(frame)
        if size is None:
            raise ScanError(Reason.DECODE_FAILED, f"frame {index} does not declare its size")
        if size != expected:
            require_budget(size)
            raise ScanError(
                Reason.CORRUPT_FILE,
                f"codestream of {size[0]}x{size[1]}, expected {expected[0]}x{expected[1]} as in the header",
            )
