"""Read the voxels of a DICOM series, single-frame or multi-frame, into patient space."""

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import Reason, ScanError
from pipeline.ingest.decoders import stored_frames
from pipeline.ingest.dicom_file import DicomFile, open_dicom
from pipeline.ingest.facts import FrameFacts
from pipeline.ingest.frames import FrameHeader, frame_count, frame_facts
from pipeline.ingest.geometry import affine_of, require_even, require_together
from pipeline.ingest.headers import is_placed
from pipeline.ingest.pixels import Polarity, Values, display_window, one_intensity, polarity
from pipeline.ingest.series import in_order, split_frames
from pipeline.ingest.stack import empty_stack, read_stack, write_values
from pipeline.scan import RADIOGRAPHS, Scan, SeriesRef


def read_dicom(ref: SeriesRef) -> Scan:
    """Read one series.

    Voxels are the Modality LUT's output. Radiographs and their cines are turned where they are MONOCHROME1, and the
    display window of a single one is noted; nothing else is ever inverted or windowed.

    Raises:
        ScanError: If its pixels or geometry cannot be trusted.
    """
    if len(ref.files) > 1:
        voxels, frames = read_stack(ref.files)
        require_even(frames)
        require_together(frames)
        return _scan(ref, voxels, affine_of(frames))
    with open_dicom(ref.files[0]) as file:
        return _read_file(ref, file)


def frames_read(ref: SeriesRef) -> tuple[int, ...]:
    """Numbers, from 1, of the frames that a series takes from its file; empty where it takes all, or has more files.

    Raises:
        ScanError: If the file is another by now.
    """
    if len(ref.files) > 1:
        return ()
    with open_dicom(ref.files[0]) as file:
        frames, _ = _frames_taken(ref, file)
        every = frame_count(file.dataset)
    return tuple(sorted(frame.index + 1 for frame in frames)) if len(frames) < every else ()


def _frames_taken(ref: SeriesRef, file: DicomFile) -> tuple[Sequence[FrameFacts], bool]:
    """The frames of one volume of a file, in order, and whether they lie in the patient."""
    frames = _frames_of(ref.files[0], file)
    if not is_placed(file.dataset, ref.modality, frames):
        return frames, False
    volumes = split_frames(frames)
    if ref.volume >= len(volumes):
        raise ScanError(Reason.CHANGED_FILE, f"the file holds {len(volumes)} volumes, not {ref.volume + 1}")
    return in_order(volumes[ref.volume]), True


def _read_file(ref: SeriesRef, file: DicomFile) -> Scan:
    """One file of one or many frames."""
    frames, placed = _frames_taken(ref, file)
    voxels = empty_stack(file, len(frames))
    wanted = [frame.index for frame in frames]
    grey_radiograph = ref.modality in RADIOGRAPHS and voxels.ndim == 3
    turned: Polarity | None = None
    for values, index, stored in zip(voxels, wanted, stored_frames(file, wanted), strict=True):
        write_values(stored, file.dataset, index, values)
        turned = polarity(FrameHeader(file.dataset, index)) if grey_radiograph else None
        if turned is not None:
            np.subtract(np.float32(turned.total), values, out=values)
    window = display_window(FrameHeader(file.dataset, wanted[0]), turned) if ref.kind == "radiograph" else None
    return dataclasses.replace(
        _scan(ref, voxels, affine_of(frames) if placed else np.eye(4)),
        geometry="patient" if placed else "none",
        inverted=turned is not None,
        window=window if grey_radiograph else None,
    )


def _frames_of(path: str, file: DicomFile) -> Sequence[FrameFacts]:
    """What the header says of each frame; where a file holds many volumes, worked out for the first one read."""
    if "PerFrameFunctionalGroupsSequence" not in file.dataset:
        return frame_facts(file.dataset)
    state = Path(path).stat()
    return _frames_in(path, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=2)
def _frames_in(path: str, _inode: int, _size: int, _mtime_ns: int) -> Sequence[FrameFacts]:
    with open_dicom(path) as file:
        return frame_facts(file.dataset)


def _scan(ref: SeriesRef, stack: Values, affine: npt.NDArray[Any]) -> Scan:
    """A scan from images stacked along the first axis: (K, rows, columns) becomes (I, J, K) without a copy."""
    axes = (2, 1, 0, 3)[: stack.ndim]
    return Scan(
        voxels=one_intensity(stack.transpose(axes)),
        affine=affine,
        modality=ref.modality,
        series_uid=ref.series_uid,
    )
