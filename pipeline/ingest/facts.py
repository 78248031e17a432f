"""What ingest remembers of one file, so that an unchanged file need not be opened again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.scan import Format, Status

FACTS_VERSION = 4  # raise it when the meaning of a field changes: remembered facts are then read anew
Vector = tuple[float, ...]
FRAME_TUPLES = ("position", "orientation", "spacing", "key", "ties")
FILE_TUPLES = ("shape", "pixel_span")


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """Where one frame of a DICOM file lies and what tells it from its neighbours.

    Attributes:
        index: Number of the frame within its file, from 0.
        position: Image Position (Patient), LPS mm; None where absent.
        orientation: Image Orientation (Patient), row then column direction; None where absent.
        spacing: Pixel Spacing in mm: between rows, between columns; None where absent.
        depth: Step in mm to the next slice where there is only one: Spacing Between Slices, else Slice
            Thickness, else 1.
        key: Frames of one volume share it (frame of reference, size, echo, time point, stack).
        ties: Values that may tell frames at one position apart, tried in order.
        meaning: Rescale and bits, as text: with the same stored bytes, the same values.
        instance: Instance Number, which only orders volumes among themselves.
    """

    index: int
    position: Vector | None
    orientation: Vector | None
    spacing: Vector | None
    depth: float
    key: tuple[str, ...]
    ties: tuple[str, ...]
    meaning: str
    instance: int


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One file: what it is, whether it can be trusted, and its frames if it is DICOM.

    Attributes:
        path, source: As found.
        size, mtime_ns: Of the file when it was read.
        sha256: Of its content, hexadecimal; empty where it was not read.
        status, reason: As in `SeriesRef`.
        format, modality, series_uid, patient: As in `SeriesRef`.
        sop_uid: SOP Instance UID, empty where there is none.
        shape: Voxels (I, J, K); K counts the frames of this file. Empty where unknown.
        volumes: Number of volumes of a NIfTI file.
        geometry: `patient` where the file places its image in the patient, else `none`; empty where unknown.
        frames: One record per DICOM frame.
        syntax: Transfer Syntax UID of a DICOM file.
        pixel_span: Offset and length of the pixel data within the file, for comparing copies.
    """

    path: str
    source: str
    size: int = 0
    mtime_ns: int = 0
    sha256: str = ""
    status: Status = "ok"
    reason: str = ""
    format: Format | Literal[""] = ""
    modality: str = ""
    series_uid: str = ""
    patient: str = ""
    sop_uid: str = ""
    shape: tuple[int, ...] = ()
    volumes: int = 1
    geometry: Literal["patient", "none", ""] = ""
    frames: tuple[FrameFacts, ...] = ()
    syntax: str = ""
    pixel_span: tuple[int, int] | None = None

    def to_json(self) -> str:
        """The record as JSON text."""
        # Not asdict, which copies deeply and takes ten times as long.
        record = {name: getattr(self, name) for name in self.__slots__}
        record["frames"] = [{name: getattr(frame, name) for name in frame.__slots__} for frame in self.frames]
        return json.dumps(record)


def facts_from_json(text: str) -> FileFacts:
    """The record that `FileFacts.to_json` wrote."""
    record = json.loads(text)
    frames = [FrameFacts(**{**frame, **_tuples(frame, FRAME_TUPLES)}) for frame in record["frames"]]
    record |= _tuples(record, FILE_TUPLES) | {"frames": tuple(frames)}
    return FileFacts(**record)


def _tuples(record: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: None if record[name] is None else tuple(record[name]) for name in names}
