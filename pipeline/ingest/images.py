"""PNG and JPEG files: one slice without a place in the patient."""

import dataclasses
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.ingest.budget import BUDGET_BYTES
from pipeline.ingest.decode_pool import decode_pool
from pipeline.ingest.encapsulated import declared_size
from pipeline.ingest.facts import FileFacts
from pipeline.ingest.nifti import uid_of_content
from pipeline.ingest.pixels import one_intensity
from pipeline.scan import Scan, SeriesRef

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
HEAD_BYTES = 2**18


def image_facts(path: Path, facts: FileFacts) -> FileFacts:
    """Fill in what a PNG or JPEG holds; it is decoded, since only its pixels tell grey from colour.

    Raises:
        ScanError: If it is too large or damaged.
    """
    pixels = _pixels(path)
    rows, columns = pixels.shape[:2]
    return dataclasses.replace(
        facts,
        format="image",
        modality="XC" if pixels.ndim == 3 else "OT",
        series_uid=uid_of_content(facts.sha256),
        shape=(columns, rows, 1),
        geometry="none",
    )


def read_image(ref: SeriesRef) -> Scan:
    """Read a PNG or JPEG, turned as its EXIF orientation says; 16-bit grey keeps its depth.

    Raises:
        ScanError: If it is too large or damaged.
    """
    pixels = _pixels(Path(ref.files[0]))
    return Scan(
        voxels=pixels.swapaxes(0, 1)[:, :, np.newaxis].astype(np.float32),
        affine=np.eye(4),
        modality=ref.modality,
        series_uid=ref.series_uid,
        geometry="none",
    )


def _pixels(path: Path) -> npt.NDArray[np.generic]:
    """Grey (rows, columns) or colour (rows, columns, 3), decoded by a worker process."""
    with path.open("rb") as file:
        size = _declared_bytes(file.read(HEAD_BYTES))
        pixels = decode_pool().decode(file.fileno(), {"kind": "image"}, size)
    return one_intensity(pixels[:, :, np.newaxis])[:, :, 0] if pixels.ndim == 3 else pixels


def _declared_bytes(start: bytes) -> int:
    """Bytes of the decoded pixels by the header; a JPEG that hides its size may be as large as an image may be."""
    if start.startswith(PNG):
        columns, rows = struct.unpack(">LL", start[16:24].ljust(8, b"\0"))
        return int(min(BUDGET_BYTES, 4 * columns * rows))
    size = declared_size(start)
    return min(BUDGET_BYTES, 4 * size[0] * size[1]) if size else BUDGET_BYTES // 4
