"""A heat-map as a DICOM object in the study of the images it was drawn on: map, segmentation, or secondary capture."""

import io
from pathlib import Path
from typing import Any

import highdicom as hd
import pydicom

from pipeline.errors import MapError
from pipeline.ingest.faults import FAULTS
from pipeline.ingest.geometry import LPS_TO_RAS
from pipeline.ingest.silence import quiet
from pipeline.scan import Scan, SeriesRef
from pipeline.score.maps.dicom_objects import MAKERS, DicomMap, secondary_capture
from pipeline.score.maps.kinds import DicomMaps
from pipeline.score.origin import UTF_8, Origin, equipment, read_headers, series_number
from pipeline.workspace import whole_file

SERIES_NUMBER = 7000  # added to that of the images


def write_dicom(path: Path, kind: DicomMaps, found: DicomMap, *, ref: SeriesRef, scan: Scan, origin: Origin) -> None:
    """Write the map of a series into its own study, as a new series; the file is the owner's alone (mode 0600).

    Patient and study are copied from the images, which every frame refers to. Memory: about three times the map.

    Raises:
        MapError: Where it cannot be: the series is not DICOM, has frames without a place in the patient, which a
            Parametric Map never does without (PS3.3 A.75), or lacks what the object needs. A secondary capture needs
            no place.
    """
    if ref.format != "dicom":
        raise MapError("no DICOM map: the series is not DICOM, so that there is no study to put it in")
    if kind != "secondary-capture":
        _require_place(kind, scan)
    try:
        with quiet():  # libraries quote the header
            made = _made(kind, found, ref=ref, scan=scan, origin=origin)
            encoded = io.BytesIO()
            made.save_as(encoded, enforce_file_format=True)
    except MapError:
        raise
    except FAULTS as error:  # its message is left out, since it quotes the header
        raise MapError(f"no DICOM map: the images' header lacks what it needs ({type(error).__name__})") from error
    with whole_file(path, mode="wb", private=True) as file:
        file.write(encoded.getbuffer())


def _require_place(kind: DicomMaps, scan: Scan) -> None:
    if scan.geometry != "patient" and scan.voxels.shape[2] > 1:
        raise MapError("no DICOM map: the frames have no place in the patient")
    if scan.geometry != "patient" and kind == "parametric":
        raise MapError("no DICOM map: a Parametric Map must lie in the patient; a segmentation need not")


def _made(kind: DicomMaps, found: DicomMap, *, ref: SeriesRef, scan: Scan, origin: Origin) -> pydicom.Dataset:
    images = read_headers(ref.files)
    shared = _shared(images.first, ref, kind, origin)
    if kind == "secondary-capture":
        made = secondary_capture(images.headers, found, shared)
    else:
        labelled = shared | {"content_label": "HEATMAP"} | _planes(ref, scan)
        made = MAKERS[kind](images.headers, found, labelled)
        _derive_uids(made, origin, ref.key, kind)
    _copy_view(made, images.first, placed=scan.geometry == "patient")
    images.adopt(made)
    return made


def _shared(source: pydicom.Dataset, ref: SeriesRef, kind: DicomMaps, origin: Origin) -> dict[str, Any]:
    return {
        "series_instance_uid": origin.uid(ref.key, kind, "series"),
        "sop_instance_uid": origin.uid(ref.key, kind, "instance"),
        "series_number": series_number(source, SERIES_NUMBER),
        "instance_number": 1,
        "series_description": "ScanShift heat-map, research use only",
        "specific_character_set": UTF_8,
        **equipment(origin.model[:16]),
    }


def _planes(ref: SeriesRef, scan: Scan) -> dict[str, Any]:
    """Where the frames lie, for a multi-frame file, whose frames may be in another order; else as the images say."""
    if len(ref.files) > 1 or scan.geometry != "patient" or scan.voxels.shape[2] == 1:
        return {}
    lps = LPS_TO_RAS @ scan.affine
    spacing = scan.spacing
    positions = [lps[:3, :3] @ (0, 0, k) + lps[:3, 3] for k in range(scan.voxels.shape[2])]
    patient = hd.CoordinateSystemNames.PATIENT
    return {
        "pixel_measures": hd.PixelMeasuresSequence((spacing[1], spacing[0]), slice_thickness=spacing[2]),
        "plane_orientation": hd.PlaneOrientationSequence(
            patient, (*(lps[:3, 0] / spacing[0]).tolist(), *(lps[:3, 1] / spacing[1]).tolist())
        ),
        "plane_positions": [hd.PlanePositionSequence(patient, position.tolist()) for position in positions],
    }


def _copy_view(made: pydicom.Dataset, source: pydicom.Dataset, *, placed: bool) -> None:
    """Which part and side of the body it shows, and how an image that lies in no patient is turned."""
    for keyword in ("BodyPartExamined", "Laterality"):
        if source.get(keyword):
            setattr(made, keyword, source.get(keyword))
    if not placed:
        made.PatientOrientation = source.get("PatientOrientation")


def _derive_uids(made: pydicom.Dataset, origin: Origin, content: str, kind: DicomMaps) -> None:
    """The organisation of dimensions gets a UID of the same kind, instead of a random one."""
    uid = origin.uid(content, kind, "dimensions")
    for item in (*made.DimensionOrganizationSequence, *made.get("DimensionIndexSequence", ())):
        item.DimensionOrganizationUID = uid
