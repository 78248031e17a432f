"""Files that are there twice: byte for byte, as one SOP instance, or with the same pixels at the same place."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import Reason
from pipeline.ingest.facts import FileFacts

CHUNK = 2**20
MOST_COMPARED = 16  # of files with one name, which are few unless somebody means harm


def mark_copies(files: Sequence[FileFacts]) -> list[FileFacts]:
    """Mark every copy as ignored; of sound files the first by path stays, and a damaged one yields to a sound one.

    Images with one SOP Instance UID but different places, time points, pixels or rescales are no copies, and all stay.

    Args:
        files: In order of their paths.
    """
    seen: dict[str, list[FileFacts]] = defaultdict(list)
    marked: dict[str, FileFacts] = {}
    for file in sorted(files, key=lambda file: file.status != "ok"):  # sound ones first, else in order
        names = names_of(file)
        namesakes = [other for name in names for other in seen[name][-MOST_COMPARED:]]
        if file.format and file.status == "ok" and any(_is_copy(file, other) for other in namesakes):
            reason = f"{Reason.DUPLICATE_FILE}: a copy of another file, which is read"
            marked[file.path] = dataclasses.replace(file, status="ignored", reason=reason)
        elif file.format and file.status == "refused" and namesakes:
            marked[file.path] = dataclasses.replace(file, format="")  # a row of its own: the sound copy stands
        for name in names:
            seen[name].append(file)
    return [marked.get(file.path, file) for file in files]


def names_of(file: FileFacts) -> set[str]:
    """What a file shares with its copies: its content's hash, its SOP Instance UID with its place; none for junk."""
    names: set[str] = set()
    if file.format and file.sha256:
        names.add(f"content {file.sha256}")
    if file.format and file.sop_uid:
        names.add(f"instance {file.sop_uid} {_place(file)}")
    return names


def _place(file: FileFacts) -> tuple[object, ...]:
    """Where and when a file's first frame was taken; empty where it lies nowhere."""
    if not file.frames or file.geometry != "patient":
        return ()
    frame = file.frames[0]
    return (frame.position, frame.orientation, frame.key, frame.ties)


def _is_copy(file: FileFacts, other: FileFacts) -> bool:
    """Whether namesakes hold the same image; where pixels cannot be compared as stored, the name must do."""
    if file.sha256 and file.sha256 == other.sha256:
        return True
    if file.syntax != other.syntax or not file.pixel_span or not other.pixel_span:
        return True
    alike = [frame.meaning for frame in file.frames] == [frame.meaning for frame in other.frames]
    return alike and _same_pixels(file, other)


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
        place = (_place(file), frame.meaning)
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
        with Path(file.path).open("rb") as one, Path(other.path).open("rb") as another:
            one.seek(file.pixel_span[0])
            another.seek(other.pixel_span[0])
            for at in range(0, file.pixel_span[1], CHUNK):
                size = min(CHUNK, file.pixel_span[1] - at)
                if one.read(size) != another.read(size):
                    return False
        return True
    except OSError:
        return False
