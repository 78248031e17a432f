"""A heat-map as a DICOM object in the study of the images it was drawn on: Parametric Map or Segmentation."""

import hashlib
import hmac
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import highdicom as hd
import pydicom

from pipeline.errors import MapError
from pipeline.ingest.faults import FAULTS
from pipeline.ingest.geometry import LPS_TO_RAS
from pipeline.scan import Scan, SeriesRef
from pipeline.score.maps.dicom_objects import MAKERS, DicomMap
from pipeline.score.maps.kinds import DicomMaps
from pipeline.workspace import whole_file

SERIES_NUMBER = 7000  # added to that of the images
TYPE_2 = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate")
TYPE_2_TOO = ("StudyTime", "ReferringPhysicianName")


@dataclass(frozen=True, slots=True)
class Origin:
    """Who draws the map.

    Attributes:
        model: Digest of the bundle.
        key: Secret of the workspace, from which UIDs are derived, so that a rerun gives the same ones.
    """

    model: str
    key: bytes

    def uid(self, *parts: str) -> str:
        """A UID of some parts: 2.25. and the first 128 bits of their HMAC-SHA256."""
        digest = hmac.new(self.key, "|".join(("map", self.model, *parts)).encode(), hashlib.sha256).digest()
        return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def write_dicom(path: Path, kind: DicomMaps, found: DicomMap, *, ref: SeriesRef, scan: Scan, origin: Origin) -> None:
    """Write the map of a series into its own study, as a new series; the file is the owner's alone (mode 0600).

    Patient and study are copied from the images, which every frame refers to. Memory: about three times the map.

    Raises:
        MapError: Where it cannot be: the series is not DICOM, has frames without a place in the patient, which a
            Parametric Map never does without (PS3.3 A.75), or lacks what the object needs.
    """
    if ref.format != "dicom":
        raise MapError("no DICOM map: the series is not DICOM, so that there is no study to put it in")
    if scan.geometry != "patient" and scan.voxels.shape[2] > 1:
        raise MapError("no DICOM map: the frames have no place in the patient")
    if scan.geometry != "patient" and kind == "parametric":
        raise MapError("no DICOM map: a Parametric Map must lie in the patient; a segmentation need not")
    make = MAKERS[kind]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote the header
            sources = [_header(file) for file in ref.files]
            made = make(sources, found, _shared(sources[0], ref, kind, origin) | _planes(ref, scan))
            _derive_uids(made, origin, ref.key, kind)
            _copy_view(made, sources[0], placed=scan.geometry == "patient")
            with whole_file(path, mode="wb", private=True) as file:
                made.save_as(file)
    except MapError:
        raise
    except FAULTS as error:  # its message is left out, since it quotes the header
        raise MapError(f"no DICOM map: the images' header lacks what it needs ({type(error).__name__})") from error


def _header(file: str) -> pydicom.Dataset:
    dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
    for keyword in (*TYPE_2, *TYPE_2_TOO):
        if keyword not in dataset:
            setattr(dataset, keyword, None)
    return dataset


def _shared(source: pydicom.Dataset, ref: SeriesRef, kind: DicomMaps, origin: Origin) -> dict[str, Any]:
    return {
        "series_instance_uid": origin.uid(ref.key, kind, "series"),
        "sop_instance_uid": origin.uid(ref.key, kind, "instance"),
        "series_number": int(source.get("SeriesNumber") or 0) + SERIES_NUMBER,
        "instance_number": 1,
        "manufacturer": "ScanShift",
        "manufacturer_model_name": "ScanShift",
        "software_versions": version("scanshift"),
        "device_serial_number": origin.model[:16],
        "series_description": "ScanShift heat-map, research use only",
        "content_label": "HEATMAP",
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
