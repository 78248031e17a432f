"""Which DICOM frames make one volume, and whether that volume can be trusted."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import ScanError
from pipeline.ingest.budget import require_budget
from pipeline.ingest.copies import without_copies
from pipeline.ingest.facts import FileFacts, FrameFacts
from pipeline.ingest.geometry import (
    along_normal,
    most_at_one_place,
    repeated,
    require_even,
    same_direction,
    same_spacing,
)
from pipeline.ingest.refs import row_for_file, series_ref
from pipeline.scan import SeriesRef


@dataclass(frozen=True, slots=True)
class PlacedFrame:
    """One frame and the file it is in."""

    file: FileFacts
    frame: FrameFacts


@dataclass(frozen=True, slots=True)
class Volume:
    """Frames that belong together, and which volume of their file or files they are."""

    frames: tuple[PlacedFrame, ...]
    number: int = 0


def series_refs(files: Sequence[FileFacts]) -> list[SeriesRef]:
    """Group the files of one Series Instance UID into volumes and check each.

    A damaged file refuses the volume it lies in. One whose place is unknown refuses every stack of the series,
    since what is left of a stack may look even; where there is no stack it has a row of its own.

    Args:
        files: In order of their paths, copies already apart.
    """
    unplaced = [file for file in files if not file.frames]
    volumes, copies = _volumes([file for file in files if file.frames])
    stacked = any(volume.frames[0].file.geometry == "patient" for volume in volumes)
    own_row = bool(unplaced) and not stacked
    split = len(volumes) + own_row > 1
    spoilt = unplaced[0].reason if unplaced and stacked else ""
    refs = [_checked(volume, n if split else 0, spoilt) for n, volume in enumerate(volumes, start=1)]
    if own_row:
        number = len(volumes) + 1 if split else 0
        refs.append(series_ref(unplaced, reason=unplaced[0].reason, images=len(unplaced), number=number))
    return refs + [row_for_file(copy) for copy in copies]


def split_frames(frames: Sequence[FrameFacts]) -> list[list[FrameFacts]]:
    """Split frames into volumes: by key and direction, then by what tells frames at one place apart.

    The order is stable: by the smallest Instance Number of each, then by the first frame.
    """
    groups: list[list[FrameFacts]] = []
    by_key: dict[tuple[str, ...], list[list[FrameFacts]]] = defaultdict(list)
    for frame in frames:
        alike = next((group for group in by_key[frame.key] if _alike(group[0], frame)), None)
        if alike is None:
            alike = []
            by_key[frame.key].append(alike)
            groups.append(alike)
        alike.append(frame)
    return [part for group in groups for part in _untangled(group)]


def in_order(frames: Sequence[FrameFacts]) -> list[FrameFacts]:
    """Frames in order along their normal, checked to be evenly spaced.

    Raises:
        ScanError: If the geometry cannot be trusted.
    """
    distances = along_normal(frames)
    ordered = [frames[int(at)] for at in distances.argsort(kind="stable")]
    require_even(ordered)
    return ordered


def _alike(one: FrameFacts, other: FrameFacts) -> bool:
    return same_direction(one, other) and same_spacing(one, other)


def _untangled(frames: list[FrameFacts]) -> list[list[FrameFacts]]:
    """Split frames that lie at one place by what tells them apart: one tie, else two together, else all.

    Best are as many parts as there are frames at one place; else parts of some slices each will do. Single slices
    will not: a value that differs in every image would tear any stack apart.
    """
    try:
        most = most_at_one_place(frames)
        if most == 1:
            return [frames]
        ties = range(len(frames[0].ties))
        choices = [*((tie,) for tie in ties), *itertools.combinations(ties, 2), tuple(ties)]
        splits = [parts for chosen in choices if len(parts := _split_by(frames, chosen)) >= most]
        apart = [parts for parts in splits if not any(map(repeated, parts))]
    except ScanError:  # frames without a place; the check of the whole volume tells
        return [frames]
    exact = [parts for parts in apart if len(parts) == most]
    whole = [parts for parts in apart if min(map(len, parts)) > 1]
    return next(iter([*exact, *whole]), [frames])


def _split_by(frames: Sequence[FrameFacts], ties: Sequence[int]) -> list[list[FrameFacts]]:
    parts: dict[tuple[str, ...], list[FrameFacts]] = defaultdict(list)
    for frame in frames:
        parts[tuple(frame.ties[tie] for tie in ties)].append(frame)
    return list(parts.values())


def _volumes(files: Sequence[FileFacts]) -> tuple[list[Volume], list[FileFacts]]:
    """The volumes of one series in a stable order, and the files that only repeat another's pixels."""
    volumes: list[Volume] = []
    copies: list[FileFacts] = []
    slices: dict[tuple[str, str], list[FileFacts]] = defaultdict(list)
    for file in files:
        if file.geometry == "patient" and len(file.frames) == 1:
            slices[file.patient, file.modality].append(file)  # UIDs made up by an exporter may join two patients
    for members in slices.values():
        stack, twice = without_copies(members)
        copies += twice
        owner = {id(file.frames[0]): file for file in stack}
        for frames in split_frames([file.frames[0] for file in stack]):
            volumes.append(Volume(tuple(PlacedFrame(owner[id(frame)], frame) for frame in frames)))
    for file in files:
        if file.geometry == "none":
            volumes.append(Volume(tuple(PlacedFrame(file, frame) for frame in file.frames)))
        elif len(file.frames) > 1:
            for number, frames in enumerate(split_frames(file.frames)):
                volumes.append(Volume(tuple(PlacedFrame(file, frame) for frame in frames), number))
    volumes.sort(key=_rank)
    return volumes, copies


def _rank(volume: Volume) -> tuple[int, str, int]:
    first = min(volume.frames, key=lambda placed: (placed.frame.instance, placed.file.source))
    return (first.frame.instance, first.file.source, volume.number)


def _checked(volume: Volume, number: int, spoilt: str) -> SeriesRef:
    """The reference of one volume, refused where a file of it is damaged or its geometry does not hold."""
    files = list({placed.file.path: placed.file for placed in volume.frames}.values())
    stacked = files[0].geometry == "patient"
    reason = next((file.reason for file in files if file.reason), spoilt if stacked else "")
    try:
        columns, rows = files[0].shape[:2]
        require_budget((columns, rows, len(volume.frames)))
        if stacked:
            ordered = in_order([placed.frame for placed in volume.frames])
            owner = {id(placed.frame): placed.file for placed in volume.frames}
            files = list({owner[id(frame)].path: owner[id(frame)] for frame in ordered}.values())
    except ScanError as error:
        reason = reason or str(error)
    return series_ref(files, reason=reason, volume=volume.number, images=len(volume.frames), number=number)
