"""The headers of one series, opened again the way the reader opens them: place and storage of every frame."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pydicom

from pipeline.ingest.dicom_file import DicomFile, open_dicom
from pipeline.ingest.facts import FrameFacts
from pipeline.ingest.faults import FAULTS
from pipeline.ingest.frames import FrameHeader, frame_facts
from pipeline.ingest.pixels import display_window, polarity
from pipeline.ingest.series import split_frames
from pipeline.scan import RADIOGRAPHS, SeriesRef


@dataclass(frozen=True, slots=True)
class Storage:
    """How the header says that one frame's pixels are stored, and what their values mean.

    Attributes:
        syntax: Transfer Syntax UID.
        photometric: Photometric Interpretation.
        allocated, stored, high: Bits Allocated, Bits Stored, High Bit.
        signed: Whether Pixel Representation says so.
        slope, intercept: Of the rescale; 1 and 0 where there is none.
        table_bits: Bits of the Modality LUT Sequence's entries; 0 where there is none.
    """

    syntax: str
    photometric: str
    allocated: int
    stored: int
    high: int
    signed: bool
    slope: float
    intercept: float
    table_bits: int


@dataclass(frozen=True, slots=True)
class Look:
    """What the headers of a DICOM series say.

    Attributes:
        frames: Those of the volume, in the order of the reference's files.
        storages: Each way of storing pixels, with its number of frames.
        syntaxes: Transfer Syntax UID to number of files.
        damaged: Files whose header could not be understood.
        total: The sum of a value and its mirror image, where a MONOCHROME1 radiograph is turned.
        window: The display window in units of the voxels, where the header has one.
        unit: Units (0054,1001) or Rescale Type (0028,1054) of the first file, as in the header; empty without.
    """

    frames: tuple[FrameFacts, ...]
    storages: Counter[Storage]
    syntaxes: Counter[str]
    damaged: int
    total: float | None
    window: tuple[float, float] | None
    unit: str


def look_at(ref: SeriesRef) -> Look:
    """Open the header of each file of a DICOM series; a file that cannot be understood is counted, no more."""
    frames: list[FrameFacts] = []
    storages: Counter[Storage] = Counter()
    syntaxes: Counter[str] = Counter()
    damaged = 0
    total, window, unit = None, None, ""
    for path in ref.files:
        try:
            with open_dicom(path) as file:
                syntaxes[file.syntax] += 1
                chosen = _of_volume(ref, frame_facts(file.dataset))
                storages.update(_storage(FrameHeader(file.dataset, f.index), file.syntax) for f in chosen)
                unit = unit or (_unit(file) if not frames else "")
                frames += chosen
                if ref.modality in RADIOGRAPHS and chosen:
                    header = FrameHeader(file.dataset, chosen[0].index)
                    turned = polarity(header)
                    total = turned.total if turned else None
                    window = display_window(header, turned) if ref.kind == "radiograph" else None
        except FAULTS:
            damaged += 1
    return Look(tuple(frames), storages, syntaxes, damaged, total, window, unit)


def _of_volume(ref: SeriesRef, frames: Sequence[FrameFacts]) -> Sequence[FrameFacts]:
    """The frames of a multi-frame file that belong to the reference's volume."""
    if len(ref.files) > 1 or ref.geometry != "patient":
        return frames
    volumes = split_frames(frames)
    return volumes[ref.volume] if ref.volume < len(volumes) else ()


def _unit(file: DicomFile) -> str:
    """The unit that the header names; the file is parsed in full, since ingest itself does not ask for it."""
    file.stream.seek(0)
    header = FrameHeader(pydicom.dcmread(file.stream, stop_before_pixels=True, force=True), 0)
    return str(header.get("Units") or header.get("RescaleType", "PixelValueTransformationSequence") or "")


def _storage(header: FrameHeader, syntax: str) -> Storage:
    slope, intercept = header.rescale()
    allocated = int(header.get("BitsAllocated") or 0)
    stored = int(header.get("BitsStored") or allocated)
    table = header.get("ModalityLUTSequence")
    return Storage(
        syntax=syntax,
        photometric=str(header.get("PhotometricInterpretation") or "MONOCHROME2"),
        allocated=allocated,
        stored=stored,
        high=int(header.get("HighBit") or stored - 1),
        signed=header.get("PixelRepresentation") == 1,
        slope=slope,
        intercept=intercept,
        table_bits=int(table[0].LUTDescriptor[2]) if table else 0,
    )
