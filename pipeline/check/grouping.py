"""Why the images of one Series Instance UID became the volumes that they became."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.ingest.dicom_file import open_dicom
from pipeline.ingest.facts import FrameFacts
from pipeline.ingest.faults import FAULTS
from pipeline.ingest.geometry import same_direction, same_spacing
from pipeline.scan import SeriesRef

# What FrameFacts.key and FrameFacts.ties hold, in their order; a test varies each and looks for its name.
KEY_NAMES = (
    "frame of reference",
    "rows",
    "columns",
    "samples per pixel",
    "echo time",
    "echo number",
    "time point",
    "time point",
    "stack",
)
TIE_NAMES = (
    "acquisition number",
    "image type",
    "diffusion weighting",
    "trigger time",
    "cardiac phase",
    "inversion time",
    "flip angle",
    "frame time",
    "other dimension",
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What one volume's frames share and what they differ in.

    Attributes:
        first: Its first frame.
        ties: For each tie, the values that its frames have.
        placed: Whether its images lie in the patient; others are volumes file by file.
    """

    first: FrameFacts
    ties: tuple[frozenset[str], ...]
    placed: bool


def fingerprint(frames: Sequence[FrameFacts], *, placed: bool) -> Fingerprint:
    """The fingerprint of a volume with at least one frame."""
    return Fingerprint(frames[0], tuple(map(frozenset, zip(*(frame.ties for frame in frames), strict=True))), placed)


def split_by(volumes: Sequence[Fingerprint]) -> tuple[str, ...]:
    """What tells the volumes of one Series Instance UID apart; empty for a single one."""
    if len(volumes) < 2:
        return ()
    if not all(volume.placed for volume in volumes):
        return ("file, since images without a place in the patient are no stack",)
    first = volumes[0].first
    found: dict[str, None] = {}  # a set that keeps its order
    if not all(same_direction(first, volume.first) for volume in volumes):
        found["orientation"] = None
    if not all(same_spacing(first, volume.first) for volume in volumes):
        found["pixel spacing"] = None
    for name, values in zip(KEY_NAMES, zip(*(volume.first.key for volume in volumes), strict=True), strict=False):
        if len(set(values)) > 1:
            found[name] = None
    crowded = [group for group in _alike(volumes) if len(group) > 1]
    if crowded:
        found |= dict.fromkeys(_deciding_ties(crowded))
    return tuple(found) or ("file, since each file of many frames stands alone",)


def base_uid(series_uid: str) -> str:
    """The Series Instance UID without the number of the volume."""
    return series_uid.partition("#")[0]


def left_out(refs: Iterable[SeriesRef]) -> Mapping[str, Counter[str]]:
    """Copies and localizers by the series that they belong to: Series Instance UID to reason code to number."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for ref in refs:
        code = ref.reason.partition(":")[0]
        if ref.status == "ignored" and code in ("DUPLICATE_FILE", "LOCALIZER"):
            uid = _uid_of(ref)
            if uid:
                found[uid][code] += 1
    return found


def _uid_of(ref: SeriesRef) -> str:
    try:
        with open_dicom(ref.files[0]) as file:
            return str(file.dataset.get("SeriesInstanceUID") or "")
    except FAULTS:
        return ""


def _alike(volumes: Sequence[Fingerprint]) -> list[list[Fingerprint]]:
    """Volumes of one key and direction, which only a tie tells apart."""
    groups: list[list[Fingerprint]] = []
    for volume in volumes:
        for group in groups:
            if _same_stack(group[0].first, volume.first):
                group.append(volume)
                break
        else:
            groups.append([volume])
    return groups


def _same_stack(one: FrameFacts, other: FrameFacts) -> bool:
    return one.key == other.key and same_direction(one, other) and same_spacing(one, other)


def _deciding_ties(groups: Sequence[Sequence[Fingerprint]]) -> tuple[str, ...]:
    """What tells the volumes of every group apart, in the order in which ingest tries it: one tie, two, all."""
    ties = range(len(TIE_NAMES))
    for chosen in [*((tie,) for tie in ties), *itertools.combinations(ties, 2), tuple(ties)]:
        if all(_tells_apart(group, chosen) for group in groups):
            return tuple(TIE_NAMES[tie] for tie in chosen)
    return ()


def _tells_apart(group: Sequence[Fingerprint], chosen: Sequence[int]) -> bool:
    values = [tuple(volume.ties[tie] for tie in chosen) for volume in group]
    one_each = all(len(value) == 1 for volume in values for value in volume)
    return one_each and len(set(values)) == len(group)
