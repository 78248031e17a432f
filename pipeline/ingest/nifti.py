"""NIfTI files: examined by streaming, so that a cut or damaged one is found, and read one volume at a time."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipeline.errors import Reason, ScanError
from pipeline.ingest.facts import FileFacts
from pipeline.ingest.gzip_stream import DAMAGED, inflating
from pipeline.ingest.nifti_header import NiftiHeader, parse_header
from pipeline.ingest.pixels import one_intensity
from pipeline.scan import Scan, SeriesRef

GZIP = b"\x1f\x8b"
HEADER_AT_MOST = 540
CHUNK = 2**20
SPARE = 2**20  # bytes that may follow the voxels


def nifti_facts(path: Path, facts: FileFacts) -> FileFacts:
    """Fill in what a NIfTI file declares, having inflated all of it without keeping it.

    Raises:
        ScanError: If the header, the checksum or the length cannot be trusted.
    """
    with _opened(path) as stream:
        header = parse_header(_exactly(stream, HEADER_AT_MOST, at_least=348))
        length = HEADER_AT_MOST
        while chunk := stream.read(CHUNK):
            length += len(chunk)
            if length > header.total_bytes + SPARE:
                raise ScanError(Reason.CORRUPT_FILE, f"more than the {header.total_bytes} bytes the header declares")
        if length < header.total_bytes:
            raise ScanError(Reason.TRUNCATED_FILE, f"{length} bytes, the header declares {header.total_bytes}")
    return dataclasses.replace(
        facts,
        format="nifti",
        modality="OT",
        series_uid=uid_of_content(facts.sha256),
        shape=header.shape,
        volumes=header.volumes,
        geometry="patient",
    )


def read_nifti(ref: SeriesRef) -> Scan:
    """Read one volume; values are scaled by scl_slope and scl_inter, axes stay as stored.

    Raises:
        ScanError: If the file is damaged.
    """
    with _opened(Path(ref.files[0])) as stream:
        start = _exactly(stream, HEADER_AT_MOST, at_least=348)
        header = parse_header(start)
        if ref.volume >= header.volumes:
            raise ScanError(Reason.CHANGED_FILE, f"the file holds {header.volumes} volumes, not {ref.volume + 1}")
        first = header.offset + ref.volume * header.volume_bytes
        stream.seek(first)
        content = _exactly(stream, header.volume_bytes, at_least=header.volume_bytes)
        while stream.read(CHUNK):  # to the checksum at the end
            pass
    return Scan(
        voxels=one_intensity(_values(content, header)),
        affine=header.affine,
        modality=ref.modality,
        series_uid=ref.series_uid,
    )


def uid_of_content(sha256: str) -> str:
    """A UID made from the first 128 bits of a hash of the content.

    Source:
        DICOM PS3.5 B.2, UUID derived UID.
    """
    return f"2.25.{int(sha256[:32], 16)}"


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The uncompressed file; a gzip checksum is compared when the end is read."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP
            file.seek(0)
            if not packed:
                yield file
                return
            with inflating(file) as inflated:
                yield inflated
    except EOFError as error:
        raise ScanError(Reason.TRUNCATED_FILE, "the gzip stream ends early") from error
    except DAMAGED as error:
        raise ScanError(Reason.CORRUPT_FILE, "the gzip stream is damaged, its checksum does not fit") from error


def _exactly(stream: BinaryIO, count: int, *, at_least: int) -> bytes:
    parts: list[bytes] = []
    missing = count
    while missing and (part := stream.read(missing)):
        parts.append(part)
        missing -= len(part)
    if count - missing < at_least:
        raise ScanError(Reason.TRUNCATED_FILE, f"{count - missing} bytes where {at_least} are needed")
    return b"".join(parts)


def _values(content: bytes, header: NiftiHeader) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    stored = np.frombuffer(content, dtype=header.dtype).reshape(header.shape, order="F")
    if stored.dtype.names:
        return np.stack([stored[name] for name in stored.dtype.names], axis=-1).astype(np.float32)
    if header.slope == 1 and header.inter == 0:
        values = stored.astype(np.float32)
    else:
        values = (stored.astype(np.float64) * header.slope + header.inter).astype(np.float32)
    if not (np.isfinite(values.min()) and np.isfinite(values.max())):  # both are NaN where a voxel is
        raise ScanError(Reason.NOT_FINITE, "voxels that are no finite numbers")
    return values
