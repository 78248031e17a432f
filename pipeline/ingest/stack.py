"""Read the files of one series into one array, on all cores, each file through memory once."""

import os
import struct
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.errors import Reason, ScanError
from pipeline.ingest.budget import require_budget
from pipeline.ingest.decoders import Stored, plain_frame, stored_frames
from pipeline.ingest.dicom_file import DicomFile, Header, open_dicom
from pipeline.ingest.facts import FrameFacts
from pipeline.ingest.frames import FrameHeader, frame_facts
from pipeline.ingest.headers import COLOUR
from pipeline.ingest.layout import pixel_layout
from pipeline.ingest.parallel import in_parallel
from pipeline.ingest.pixels import Values, colours, write_intensities
from pipeline.ingest.plain_header import plain_header
from pipeline.ingest.plain_values import NotPlainError

LARGEST_READ_WHOLE = 2**25  # bytes of a file; a larger one is read in parts


def read_stack(paths: Sequence[str]) -> tuple[Values, list[FrameFacts]]:
    """Read single-frame files in the order given.

    Returns:
        Values, shape (K, rows, columns) or (K, rows, columns, 3), and what each header says of its frame.

    Raises:
        ScanError: If a file cannot be trusted; CHANGED_FILE if one has another size than the first.
    """
    with open_dicom(paths[0]) as file:
        voxels = empty_stack(file, len(paths))
    buffers = threading.local()

    def read(k: int) -> FrameFacts:
        return _read_whole(paths[k], voxels[k], buffers) or _read_in_parts(paths[k], voxels[k])

    return voxels, list(in_parallel(read, range(len(paths))))


def empty_stack(file: DicomFile, frames: int) -> Values:
    """An array for the values of some frames of a file.

    Raises:
        ScanError: OVER_BUDGET if it would be too large.
    """
    header = file.dataset
    samples = (3,) if _in_colour(header) else ()
    shape = (frames, int(header.get("Rows") or 0), int(header.get("Columns") or 0), *samples)
    require_budget(shape)
    return np.empty(shape, dtype=np.float32)


def write_values(stored: Stored, header: Header, index: int, out: Values) -> None:
    """Write one frame's values: in modality units, or colour in 0..255.

    Args:
        stored: As decoded.
        header: The file's.
        index: Number of the frame.
        out: Where the values go, shape (rows, columns) or (rows, columns, 3).

    Raises:
        ScanError: CHANGED_FILE if the frame is not as large as that.
    """
    if stored.shape[:2] != out.shape[:2]:
        raise ScanError(Reason.CHANGED_FILE, "a slice is not as large as the others any more")
    if _in_colour(header):
        out[...] = colours(stored, header)
    else:
        write_intensities(stored, FrameHeader(header, index), out)


def _in_colour(header: Header) -> bool:
    return str(header.get("PhotometricInterpretation")) in COLOUR


def _read_whole(path: str, out: Values, buffers: threading.local) -> FrameFacts | None:
    """Read a file of the ordinary kind in one go; None for any other."""
    with Path(path).open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST_READ_WHOLE:
            return None
        if len(getattr(buffers, "bytes", b"")) < size:
            buffers.bytes = bytearray(size)
        content: bytearray = buffers.bytes
        size = file.readinto(memoryview(content)[:size])
    try:
        header = plain_header(content, size)
    except (NotPlainError, struct.error):
        return None
    vr, offset, length = header.pixels
    layout = pixel_layout(header, header.syntax, vr.decode("ascii"))
    if not layout.plain:
        return None
    stored = plain_frame(memoryview(content)[offset : min(size, offset + length)], layout)
    write_values(stored, header, 0, out)
    return frame_facts(header)[0]


def _read_in_parts(path: str, out: Values) -> FrameFacts:
    with open_dicom(path) as file:
        (stored,) = stored_frames(file, [0])
        write_values(stored, file.dataset, 0, out)
        return frame_facts(file.dataset)[0]
