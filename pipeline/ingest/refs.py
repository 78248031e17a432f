"""From what is known of files to `SeriesRef` rows: source, identity of content, shape."""

import hashlib
import posixpath
from collections.abc import Sequence

from pipeline.ingest.facts import FileFacts
from pipeline.ingest.stamp import stamp_of
from pipeline.scan import SeriesRef


def series_ref(
    files: Sequence[FileFacts], *, reason: str = "", volume: int = 0, images: int, number: int = 0
) -> SeriesRef:
    """The reference of one volume.

    Args:
        files: Its files, in order.
        reason: Why it is refused; empty if it is not.
        volume: Which volume of its file it is.
        images: Its number of slices or frames.
        number: Which part of its Series Instance UID it is, from 1; 0 where the UID was not split.
    """
    first = files[0]
    return SeriesRef(
        source=common_source([file.source for file in files]),
        series_uid=f"{first.series_uid}#{number}" if number else first.series_uid,
        status="refused" if reason else "ok",
        reason=reason,
        format=first.format,
        modality=first.modality,
        files=tuple(file.path for file in files),
        volume=volume,
        images=images,
        content=content_of(files),
        patient=first.patient,
        shape=(*first.shape[:2], images) if first.shape else (),
        geometry=first.geometry,
        stamp=_stamp(files),
    )


def row_for_file(file: FileFacts) -> SeriesRef:
    """The row of one file or link that belongs to no series."""
    return SeriesRef(
        source=file.source,
        series_uid="",
        status=file.status,
        reason=file.reason,
        modality=file.modality,
        files=(file.path,),
        content=content_of([file]) if file.sha256 else "",
        stamp=_stamp([file]),
    )


def common_source(sources: Sequence[str]) -> str:
    """The file itself where there is one, else the deepest folder that holds all; `.` for the folder given."""
    if len(sources) == 1:
        return sources[0]
    return posixpath.commonpath([posixpath.dirname(source) for source in sources]) or "."


def content_of(files: Sequence[FileFacts]) -> str:
    """SHA-256 over the sorted hashes of the files, so that it is the same wherever they lie."""
    return hashlib.sha256("".join(sorted(file.sha256 for file in files)).encode()).hexdigest()


def _stamp(files: Sequence[FileFacts]) -> str:
    """Empty where a file was never opened."""
    if not all(file.mtime_ns for file in files):
        return ""
    return stamp_of((file.size, file.mtime_ns) for file in files)
