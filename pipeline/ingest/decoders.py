"""Stored pixels of a DICOM file, frame by frame: uncompressed ones in this process, others by a worker."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import uid
from pydicom.pixels.decoders.base import get_decoder

from pipeline.errors import Reason, ScanError
from pipeline.ingest.decode_pool import decode_pool
from pipeline.ingest.dicom_file import DicomFile
from pipeline.ingest.encapsulated import Span, frame_spans
from pipeline.ingest.layout import BIG_ENDIAN, PixelLayout, extend, pixel_layout
from pipeline.ingest.parallel import in_parallel

JOB_BYTES = 2**24  # of decoded pixels in one job: some tens of slices

Stored = npt.NDArray[Any]


def stored_frames(file: DicomFile, wanted: Sequence[int]) -> Iterator[Stored]:
    """Decode the frames wanted, in that order.

    Yields:
        Stored values, shape (rows, columns), or (rows, columns, 3) red, green, blue; palette indices stay indices.

    Raises:
        ScanError: OVER_BUDGET or CORRUPT_FILE if a codestream declares another size than the header; TRUNCATED_PIXELS
            if the file ends early; DECODE_FAILED or DECODE_KILLED.
    """
    layout = pixel_layout(file.dataset, file.syntax, file.pixels.vr if file.pixels else "")
    if layout.plain:
        return _plain_frames(file, layout, wanted)
    if layout.native:
        return _native_frames(file, layout, wanted)
    return _decoded_frames(file, layout, wanted)


def _plain_frames(file: DicomFile, layout: PixelLayout, wanted: Sequence[int]) -> Iterator[Stored]:
    """Little-endian pixels of one sample, one frame in memory at a time."""
    if file.pixels is None:
        raise ScanError(Reason.NO_PIXELS, "no pixel data")
    for index in wanted:
        file.stream.seek(file.pixels.offset + index * layout.frame_bytes)
        yield plain_frame(file.stream.read(layout.frame_bytes), layout)


def plain_frame(pixels: bytes | memoryview, layout: PixelLayout) -> Stored:
    """One frame of little-endian pixels of one sample.

    Raises:
        ScanError: TRUNCATED_PIXELS if there are too few.
    """
    if len(pixels) < layout.frame_bytes:
        raise ScanError(Reason.TRUNCATED_PIXELS, f"{len(pixels)} bytes of a frame of {layout.frame_bytes}")
    stored = np.frombuffer(pixels, dtype=f"<u{layout.allocated // 8}", count=layout.rows * layout.columns)
    return extend(stored.reshape(layout.rows, layout.columns), layout)


def _native_frames(file: DicomFile, layout: PixelLayout, wanted: Sequence[int]) -> Iterator[Stored]:
    """Other uncompressed pixels: single bits, and by pydicom colour and big endian."""
    if layout.allocated == 1 and layout.samples == 1:
        bits = _bits(file, layout)
        yield from (bits[index] for index in wanted)
        return
    dataset = layout.dataset(file.pixel_bytes(), layout.frames)
    for frame, _ in get_decoder(uid.UID(layout.syntax)).iter_array(dataset, indices=list(wanted)):
        yield frame


def _bits(file: DicomFile, layout: PixelLayout) -> Stored:
    """Single bits, shape (frames, rows, columns); frames follow each other without padding (DICOM PS3.5 8.1.1)."""
    packed = np.frombuffer(file.pixel_bytes(), dtype=np.uint8)
    if layout.syntax == BIG_ENDIAN and layout.vr == "OW":
        packed = packed[: len(packed) // 2 * 2].reshape(-1, 2)[:, ::-1].ravel()
    count = layout.frames * layout.rows * layout.columns
    bits = np.unpackbits(packed, count=min(count, 8 * len(packed)), bitorder="little")
    if len(bits) < count:
        raise ScanError(Reason.TRUNCATED_PIXELS, f"{len(bits)} pixels of one bit, expected {count}")
    return bits.reshape(layout.frames, layout.rows, layout.columns)


def _decoded_frames(file: DicomFile, layout: PixelLayout, wanted: Sequence[int]) -> Iterator[Stored]:
    """Compressed pixels, some frames to a job, as many jobs at once as there are cores."""
    spans = frame_spans(file, layout.frames)
    together = max(1, min(JOB_BYTES // max(1, layout.frame_bytes), -(-len(wanted) // (4 * decode_pool().size))))
    jobs = [[spans[index] for index in wanted[n : n + together]] for n in range(0, len(wanted), together)]
    source = file.stream.fileno()
    record = asdict(layout)

    def decode(frames: list[list[Span]]) -> Stored:
        job = {"kind": "frames", "layout": record, "frames": frames}
        pixels = decode_pool().decode(source, job, len(frames) * layout.frame_bytes)
        _require_shape(pixels, layout, len(frames))
        return pixels

    for pixels in [decode(jobs[0])] if len(jobs) == 1 else in_parallel(decode, jobs):
        yield from pixels


def _require_shape(pixels: Stored, layout: PixelLayout, frames: int) -> None:
    """Check what a worker sent against the header."""
    expected = (frames, layout.rows, layout.columns, *([3] if layout.samples == 3 else []))
    if pixels.shape != expected:
        raise ScanError(Reason.CORRUPT_FILE, f"decoded {pixels.shape[1:]}, expected {expected[1:]} as in the header")
