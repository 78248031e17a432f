"""Files that are there twice: byte for byte, as one SOP instance, or with the same pixels at the same place."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import Reason
from pipeline.ingest.facts import FileFacts


def mark_copies(files: Sequence[FileFacts]) -> list[FileFacts]:
    """Mark every copy as ignored; of sound files the first by path stays, and a damaged one yields to a sound one.

    Slices with one SOP Instance UID but different places are no copies, and all stay.

    Args:
        files: In order of their paths.
    """
    seen: set[str] = set()
    marked: dict[str, FileFacts] = {}
    for file in sorted(files, key=lambda file: file.status != "ok"):  # sound ones first, else in order
        names = names_of(file)
        if file.format and file.status == "ok" and seen & names:
            reason = f"{Reason.DUPLICATE_FILE}: a copy of another file, which is read"
            marked[file.path] = dataclasses.replace(file, status="ignored", reason=reason)
        elif file.format and file.status == "refused" and seen & names:
            marked[file.path] = dataclasses.replace(file, format="")  # a row of its own: the sound copy stands
        seen |= names
    return [marked.get(file.path, file) for file in files]


def names_of(file: FileFacts) -> set[str]:
    """What a file shares with its copies: its content's hash, its SOP Instance UID with its place; none for junk."""
    names: set[str] = set()
    if file.format and file.sha256:
        names.add(f"content {file.sha256}")
    if file.format and file.sop_uid:
        position = file.frames[0].position if file.frames and file.geometry == "patient" else None
        names.add(f"instance {file.sop_uid} {position}")
    return names


def without_copies(files: Sequence[FileFacts]) -> tuple[list[FileFacts], list[FileFacts]]:
    """Keep one of the single-frame files that show the same pixels at the same place.

    Returns:
        The files that stay, and the copies, marked as ignored.
    """
    kept: list[FileFacts] = []
    copies: list[FileFacts] = []
    by_place: dict[object, list[FileFacts]] = defaultdict(list)
    for file in files:
        frame = file.frames[0]
        place = (frame.position, frame.orientation, frame.key, frame.ties, frame.scale)
        if frame.position and any(_same_pixels(file, other) for other in by_place[place]):
            reason = f"{Reason.DUPLICATE_FILE}: the same pixels at the same place as another slice of the series"
            copies.append(dataclasses.replace(file, status="ignored", reason=reason))
        else:
            by_place[place].append(file)
            kept.append(file)
    return kept, copies


def _same_pixels(file: FileFacts, other: FileFacts) -> bool:
    if not file.pixel_span or not other.pixel_span or file.pixel_span[1] != other.pixel_span[1]:
        return False
    try:
        return _pixels(file, file.pixel_span) == _pixels(other, other.pixel_span)
    except OSError:
        return False


def _pixels(file: FileFacts, span: tuple[int, int]) -> bytes:
    with Path(file.path).open("rb") as stream:
        stream.seek(span[0])
        return stream.read(span[1])
