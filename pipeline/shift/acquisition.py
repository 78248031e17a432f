"""What headers tell of how scans were made, without anything that tells of whom, when, where or on which device."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import nibabel as nib

from pipeline.check.shown import HIDDEN, shown, shown_code
from pipeline.errors import ScanError
from pipeline.ingest.dicom_file import Header, parse_every_element, plain_file
from pipeline.ingest.faults import FAULTS
from pipeline.ingest.plain_header import elements
from pipeline.ingest.silence import quiet
from pipeline.scan import SeriesRef
from pipeline.shift.domain import FEW_PATIENTS, OTHER, HeaderValue

DIGITS = 4
LONGEST = 64
UNMISTAKABLE = 5  # letters or digits of an identity that count inside another word too

# DICOM keyword to unit. Dates, names, UIDs, institutions, stations and serial numbers are left out on purpose.
NUMBERS = {
    "PixelSpacing": "mm",
    "ImagerPixelSpacing": "mm",
    "SliceThickness": "mm",
    "SpacingBetweenSlices": "mm",
    "BitsStored": "",
    "WindowCenter": "",
    "WindowWidth": "",
    "KVP": "kV",
    "Exposure": "mAs",
    "ExposureTime": "ms",
    "XRayTubeCurrent": "mA",
    "ExposureIndex": "",
    "DistanceSourceToDetector": "mm",
    "DistanceSourceToPatient": "mm",
    "FocalSpots": "mm",
    "ReconstructionDiameter": "mm",
    "MagneticFieldStrength": "T",
    "EchoTime": "ms",
    "RepetitionTime": "ms",
    "InversionTime": "ms",
    "FlipAngle": "degrees",
}
CODES = (
    "BodyPartExamined",
    "ViewPosition",
    "PatientPosition",
    "ImageLaterality",
    "PatientSex",
    "PhotometricInterpretation",
    "PresentationIntentType",
    "PixelIntensityRelationship",
    "LossyImageCompression",
    "DetectorType",
    "FilterType",
    "ScanningSequence",
    "SequenceVariant",
    "MRAcquisitionType",
)
TEXTS = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "ConvolutionKernel")
IDENTITIES = ("PatientID", "PatientName", "OtherPatientIDs", "AccessionNumber", "DeviceSerialNumber", "StudyID")
AGE = "PatientAge"
ASKED_FOR = elements([*NUMBERS, *CODES, *TEXTS, *IDENTITIES, AGE])


def header_values(ref: SeriesRef) -> dict[str, HeaderValue]:
    """What the header of a series says of its acquisition, by name of the field with its unit.

    Numbers are rounded to 4 significant digits; an age is a band of ten years; text that repeats what identifies the
    patient in the same header is hidden. A header that cannot be read gives what the series' reference knows.
    """
    columns, rows = (*ref.shape, 0, 0)[:2]
    values: dict[str, HeaderValue] = {
        "Format": ref.format or None,
        "Modality": shown_code(ref.modality) if ref.modality else None,
        "Rows": float(rows) or None,
        "Columns": float(columns) or None,
        "Images": float(ref.images),
    }
    if not ref.files:
        return values
    if ref.format == "dicom":
        return values | _dicom_values(ref.files[0])
    if ref.format == "nifti":
        return values | _nifti_values(ref.files[0])
    return values


def _dicom_values(path: str) -> dict[str, HeaderValue]:
    try:
        with Path(path).open("rb") as file, quiet():
            header = (plain_file(file, ASKED_FOR) or parse_every_element(file)).dataset
            known = _identities(header)
            found: dict[str, HeaderValue] = {
                f"{name} ({unit})" if unit else name: _number(_get(header, name)) for name, unit in NUMBERS.items()
            }
            found |= {name: _code(_get(header, name)) for name in CODES}
            found |= {name: _text(_get(header, name), known) for name in TEXTS}
            found["PatientAge (band)"] = age_band(_words(_get(header, AGE)))
    except (*FAULTS, ScanError):
        return {}
    return found


def _nifti_values(path: str) -> dict[str, HeaderValue]:
    try:
        header = nib.nifti1.Nifti1Image.from_filename(path).header
        steps = [float(step) for step in header.get_zooms()[:3]]
        names = ("PixelSpacing (mm)", "PixelSpacing J (mm)", "SliceThickness (mm)")
        return {name: _rounded(step) for name, step in zip(names, steps, strict=False)} | {
            "DataType": str(header.get_data_dtype())
        }
    except FAULTS:
        return {}


def _get(header: Header, keyword: str) -> object:
    """The value of an element; None where it is absent or spelt so that it cannot be read."""
    try:
        value: object = header.get(keyword)
    except FAULTS:
        return None
    return value


def _first(value: object) -> object:
    return value[0] if isinstance(value, Sequence) and not isinstance(value, str) and len(value) else value


def _number(value: object) -> float | None:
    try:
        return _rounded(float(str(_first(value))))
    except ValueError:
        return None


def _rounded(number: float) -> float | None:
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else None


def _words(value: object) -> str:
    if value is None:
        return ""
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return "\\".join(str(part) for part in value) if several and isinstance(value, Sequence) else str(value)


def _code(value: object) -> str | None:
    parts = [shown_code(part.strip()) for part in _words(value).split("\\") if part.strip()]
    return "\\".join(parts[:4]) or None


def _text(value: object, known: Collection[str]) -> str | None:
    text = shown(_words(value)).strip()[:LONGEST]
    folded = text.casefold()
    own = set(_words_of(folded))
    repeats = any(word in own or (len(word) >= UNMISTAKABLE and word in folded) for word in known)
    return HIDDEN if repeats else text or None


def _identities(header: Header) -> set[str]:
    """Words of at least three letters or digits that identify the patient, the visit or the device in a header."""
    words: set[str] = set()
    for keyword in IDENTITIES:
        text = _words(_get(header, keyword)).casefold()
        words |= {word for word in _words_of(text) if len(word) >= 3}
    return words


def _words_of(text: str) -> list[str]:
    return re.split(r"[\W_]+", text)


def age_band(text: str) -> str | None:
    """A band of ten years for a DICOM age string, such as `40-49` for `045Y`; one band from 90 on.

    Source:
        DICOM PS3.5 table 6.2-1, AS: three digits and D, W, M or Y.
    """
    match = re.fullmatch(r"(\d{3})([DWMY])", text.strip())
    if not match:
        return None
    years = int(match[1]) // {"D": 365, "W": 52, "M": 12, "Y": 1}[match[2]]
    return "90+" if years >= 90 else f"{years // 10 * 10}-{years // 10 * 10 + 9}"


def without_rare(values: Sequence[HeaderValue], patients: Sequence[str]) -> tuple[HeaderValue, ...]:
    """The values, with `(other)` for texts of fewer than 5 patients: such a text may tell who somebody is."""
    of: dict[str, set[str]] = {}
    for value, patient in zip(values, patients, strict=True):
        if isinstance(value, str):
            of.setdefault(value, set()).add(patient)
    return tuple(OTHER if isinstance(value, str) and len(of[value]) < FEW_PATIENTS else value for value in values)


def columns(rows: Sequence[Mapping[str, HeaderValue]]) -> dict[str, tuple[HeaderValue, ...]]:
    """Fields by name, each with the value of every scan; fields that no scan has are left out."""
    names = dict.fromkeys(name for row in rows for name in row)
    table = {name: tuple(row.get(name) for row in rows) for name in names}
    return {name: values for name, values in table.items() if any(value is not None for value in values)}
