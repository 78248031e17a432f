"""Read the voxels of a DICOM series, single-frame or multi-frame, into patient space."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom

from pipeline.errors import Reason, ScanError
from pipeline.ingest.budget import require_budget
from pipeline.ingest.decoders import stored_frames
from pipeline.ingest.dicom_file import DicomFile, open_dicom
from pipeline.ingest.facts import FrameFacts
from pipeline.ingest.frames import FrameHeader, frame_facts
from pipeline.ingest.geometry import affine_of, require_even
from pipeline.ingest.headers import COLOUR, is_placed
from pipeline.ingest.pixels import (
    Polarity,
    Values,
    colours,
    display_window,
    intensities,
    one_intensity,
    polarity,
)
from pipeline.ingest.series import in_order, split_frames
from pipeline.scan import RADIOGRAPHS, Scan, SeriesRef


def read_dicom(ref: SeriesRef) -> Scan:
    """Read one series.

    Voxels are the Modality LUT's output. A radiograph of one image is turned where it is MONOCHROME1, and its
    display window is noted; nothing else is ever inverted or windowed.

    Raises:
        ScanError: If its pixels or geometry cannot be trusted.
    """
    if len(ref.files) > 1:
        return _read_stack(ref)
    with open_dicom(ref.files[0]) as file:
        return _read_file(ref, file)


def _read_stack(ref: SeriesRef) -> Scan:
    """One slice per file, in the order of the reference."""
    voxels: npt.NDArray[np.float32] | None = None
    frames: list[FrameFacts] = []
    for k, path in enumerate(ref.files):
        with open_dicom(path) as file:
            frames.append(frame_facts(file.dataset)[0])
            (values,) = _values(file, [0])
            if voxels is None:
                require_budget((*values.shape, len(ref.files)))
                voxels = np.empty((len(ref.files), *values.shape), dtype=np.float32)
            if values.shape != voxels.shape[1:]:
                raise ScanError(Reason.CHANGED_FILE, f"slice {k} is not as large as the others any more")
            voxels[k] = values
    if voxels is None:
        raise ScanError(Reason.NO_PIXELS, "a series without files")
    require_even(frames)
    return _scan(ref, voxels, affine_of(frames))


def _read_file(ref: SeriesRef, file: DicomFile) -> Scan:
    """One file of one or many frames."""
    frames: Sequence[FrameFacts] = frame_facts(file.dataset)
    placed = is_placed(file.dataset, ref.modality, frames)
    if placed:
        volumes = split_frames(frames)
        if ref.volume >= len(volumes):
            raise ScanError(Reason.CHANGED_FILE, f"the file holds {len(volumes)} volumes, not {ref.volume + 1}")
        frames = in_order(volumes[ref.volume])
    shape = (len(frames), int(file.dataset.Rows), int(file.dataset.Columns))
    samples = 3 if _in_colour(file.dataset) else 1
    require_budget((*shape, samples))
    voxels = np.empty((*shape, 3) if samples == 3 else shape, dtype=np.float32)
    for k, values in enumerate(_values(file, [frame.index for frame in frames])):
        voxels[k] = values
    scan = _scan(ref, voxels, affine_of(frames) if placed else np.eye(4))
    scan = dataclasses.replace(scan, geometry="patient" if placed else "none")
    if ref.modality in RADIOGRAPHS and len(frames) == 1 and not scan.colour:
        return _one_polarity(scan, FrameHeader(file.dataset, frames[0].index))
    return scan


def _values(file: DicomFile, wanted: Sequence[int]) -> Iterator[Values]:
    """Values of the frames wanted, shape (rows, columns) or (rows, columns, 3) each."""
    in_colour = _in_colour(file.dataset)
    for index, stored in zip(wanted, stored_frames(file, wanted), strict=True):
        if in_colour:
            yield colours(stored, file.dataset)
        else:
            yield intensities(stored, FrameHeader(file.dataset, index))


def _in_colour(dataset: pydicom.Dataset) -> bool:
    return str(dataset.get("PhotometricInterpretation")) in COLOUR


def _scan(ref: SeriesRef, stack: npt.NDArray[np.float32], affine: npt.NDArray[Any]) -> Scan:
    """A scan from images stacked along the first axis: (K, rows, columns) becomes (I, J, K) without a copy."""
    axes = (2, 1, 0, 3)[: stack.ndim]
    return Scan(
        voxels=one_intensity(stack.transpose(axes)),
        affine=affine,
        modality=ref.modality,
        series_uid=ref.series_uid,
    )


def _one_polarity(scan: Scan, header: FrameHeader) -> Scan:
    turned: Polarity | None = polarity(header)
    window = display_window(header, turned)
    if turned is None:
        return dataclasses.replace(scan, window=window)
    voxels = np.float32(turned.total) - scan.voxels
    return dataclasses.replace(scan, voxels=voxels, inverted=True, window=window)
