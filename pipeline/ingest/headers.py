"""What one DICOM file says of itself, and whether its header and length can be trusted."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

from pydicom import uid

from pipeline.errors import Reason, ScanError
from pipeline.ingest.budget import require_budget
from pipeline.ingest.dicom_file import DicomFile, Header
from pipeline.ingest.encapsulated import require_whole
from pipeline.ingest.facts import FileFacts, FrameFacts
from pipeline.ingest.frames import FrameHeader, frame_count, frame_facts
from pipeline.ingest.syntaxes import DECODERS, NATIVE
from pipeline.scan import PHOTOGRAPHS, RADIOGRAPHS

Geometry = Literal["patient", "none"]

COLOURFUL = PHOTOGRAPHS | {"IVUS", "BDUS", "OPT", "OCT", "IVOCT"}
UNPLACED = RADIOGRAPHS | COLOURFUL - {"OT"}  # images that lie nowhere in the patient
STACKED = frozenset({"CT", "MR", "PT"})  # slices, which must lie somewhere
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR"})
MODALITY_OF_CLASS: dict[str, str] = {
    str(uid.CTImageStorage): "CT",
    str(uid.MRImageStorage): "MR",
    str(uid.PositronEmissionTomographyImageStorage): "PT",
    str(uid.NuclearMedicineImageStorage): "NM",
    str(uid.ComputedRadiographyImageStorage): "CR",
    str(uid.UltrasoundImageStorage): "US",
}
NOT_SCANS: dict[str, str] = {
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "a label map",
    "1.2.840.10008.5.1.4.1.1.66.8": "a height map",
    "1.2.840.10008.5.1.4.1.1.30": "a parametric map",
    "1.2.840.10008.5.1.4.1.1.481.1": "a radiotherapy image",
    "1.2.840.10008.5.1.4.1.1.481.2": "a radiotherapy dose",
    "1.2.840.10008.5.1.4.1.1.77.1.6": "a tiled slide",
}
MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"


def dicom_facts(file: DicomFile, facts: FileFacts) -> FileFacts:
    """Fill in what a DICOM file says; a damaged one keeps its series, so that the series is refused with it.

    Args:
        file: The open file.
        facts: Where it was found.

    Raises:
        ScanError: CORRUPT_HEADER or NOT_DICOM if it names no SOP Class and holds no image.
    """
    dataset = file.dataset
    sop_class = _text(dataset, "SOPClassUID")
    if sop_class == MEDIA_DIRECTORY or "DirectoryRecordSequence" in dataset:
        words = "a DICOMDIR; the files it lists are read by themselves where their folder is given"
        return _ignored(facts, Reason.NO_PIXELS, words)
    if not sop_class and file.pixels is None:
        raise ScanError(Reason.CORRUPT_HEADER, "no SOP Class and no pixel data")
    if sop_class in NOT_SCANS:
        return _ignored(facts, Reason.UNSUPPORTED_OBJECT, f"{NOT_SCANS[sop_class]}, not a scan")
    if file.pixels is None and not _names_an_image(dataset, sop_class):
        return _ignored(facts, Reason.NO_PIXELS, "a DICOM object without pixels, such as a report or a plan")
    if "LOCALIZER" in (dataset.get("ImageType") or ()):
        return _ignored(facts, Reason.LOCALIZER, "a localizer image, not part of a volume")
    known = dataclasses.replace(
        facts,
        format="dicom",
        modality=_modality(dataset, sop_class),
        series_uid=_text(dataset, "SeriesInstanceUID") or _made_uid(facts.sha256),
        sop_uid=_text(dataset, "SOPInstanceUID"),
        syntax=file.syntax,
        patient=_text(dataset, "PatientID"),
    )
    try:
        known = _with_frames(known, file)
        _require_readable(known, file)
    except ScanError as error:
        return dataclasses.replace(known, status="refused", reason=str(error))
    return known


def _ignored(facts: FileFacts, code: Reason, words: str) -> FileFacts:
    return dataclasses.replace(facts, status="ignored", reason=f"{code}: {words}")


def _names_an_image(dataset: Header, sop_class: str) -> bool:
    return "Rows" in dataset or "Image Storage" in uid.UID(sop_class).name


def _modality(dataset: Header, sop_class: str) -> str:
    """The modality; a capture that is in colour or lies nowhere is a picture, whatever modality it was taken of."""
    modality = _text(dataset, "Modality") or MODALITY_OF_CLASS.get(sop_class, "OT")
    if sop_class != SECONDARY_CAPTURE and not sop_class.startswith(f"{SECONDARY_CAPTURE}."):
        return modality
    in_colour = modality not in COLOURFUL and dataset.get("PhotometricInterpretation") in COLOUR
    placed = "ImagePositionPatient" in dataset or "PerFrameFunctionalGroupsSequence" in dataset
    return "SC" if in_colour or (modality in STACKED and not placed) else modality


def _made_uid(sha256: str) -> str:
    return f"2.25.{int(sha256[:32] or '0', 16)}"


def _with_frames(facts: FileFacts, file: DicomFile) -> FileFacts:
    """Add shape, geometry and frames."""
    dataset = file.dataset
    if file.pixels is None:
        raise ScanError(Reason.NO_PIXELS, "an image without pixel data; stripped, or the file was cut short")
    rows, columns = (_positive(dataset, keyword) for keyword in ("Rows", "Columns"))
    shape = (columns, rows, frame_count(dataset))
    require_budget((*shape, _positive(dataset, "SamplesPerPixel", default=1)))
    frames = frame_facts(dataset)
    geometry: Geometry = "patient" if is_placed(dataset, facts.modality, frames) else "none"
    return dataclasses.replace(facts, shape=shape, frames=frames, geometry=geometry)


def is_placed(dataset: Header, modality: str, frames: Sequence[FrameFacts]) -> bool:
    """Whether an image must lie somewhere in the patient.

    Radiographs, ultrasound and photographs do not, unless functional groups place each frame. CT, MR and PT must;
    others, as planar nuclear medicine, do where the header places every frame.
    """
    placed = all(frame.position and frame.orientation for frame in frames)
    if modality in UNPLACED:
        return placed and "PerFrameFunctionalGroupsSequence" in dataset
    return placed or modality in STACKED


def _require_readable(facts: FileFacts, file: DicomFile) -> None:
    """Check what can be known without decoding: kind of object, colour, syntax, length."""
    dataset = file.dataset
    if file.pixels is not None and file.pixels.floating:
        raise ScanError(Reason.UNSUPPORTED_OBJECT, "pixels are floating point, expected whole numbers")
    if "MOSAIC" in (dataset.get("ImageType") or ()):
        raise ScanError(Reason.UNSUPPORTED_OBJECT, "a mosaic of many slices in one image; export it as enhanced MR")
    if "ConcatenationUID" in dataset:
        raise ScanError(Reason.UNSUPPORTED_OBJECT, "one part of a concatenation; join the parts first")
    _require_colour(dataset, facts.modality)
    _require_bits(dataset)
    if file.syntax in NATIVE:
        _require_length(facts, file)
    elif file.syntax not in DECODERS:
        name = uid.UID(file.syntax).name
        name = "of an unknown UID" if name == file.syntax else name
        raise ScanError(Reason.UNSUPPORTED_SYNTAX, f"transfer syntax {name} has no decoder here")
    else:
        require_whole(file, facts.shape)
    known: dict[str, Any] = {}
    for index in range(len(facts.frames)):
        slope, _ = FrameHeader(dataset, index, known).rescale()
        if slope == 0:
            raise ScanError(Reason.CORRUPT_HEADER, "Rescale Slope is 0, which leaves no image")


def _require_colour(dataset: Header, modality: str) -> None:
    if modality in RADIOGRAPHS and not dataset.get("PhotometricInterpretation"):
        raise ScanError(Reason.CORRUPT_HEADER, "no Photometric Interpretation, so which end is black is unknown")
    photometric = str(dataset.get("PhotometricInterpretation", "") or "MONOCHROME2")
    if photometric in GREY and dataset.get("PixelRepresentation") not in (0, 1):
        raise ScanError(Reason.CORRUPT_HEADER, "no Pixel Representation, so the sign of the pixels is unknown")
    samples = _positive(dataset, "SamplesPerPixel", default=1)
    if photometric not in GREY | COLOUR:
        raise ScanError(Reason.UNSUPPORTED_COLOUR, "a photometric interpretation that is not read")
    if photometric in COLOUR and modality not in COLOURFUL:
        raise ScanError(Reason.UNSUPPORTED_COLOUR, f"{photometric} where the modality has one intensity per voxel")
    expected = 3 if photometric in COLOUR - {"PALETTE COLOR"} else 1
    if samples != expected:
        raise ScanError(Reason.CORRUPT_HEADER, f"{samples} samples per pixel in {photometric}, expected {expected}")


def _require_bits(dataset: Header) -> None:
    allocated = _positive(dataset, "BitsAllocated")
    stored = _positive(dataset, "BitsStored", default=allocated)
    if allocated not in (1, 8, 16, 32) or stored > allocated:
        raise ScanError(Reason.CORRUPT_HEADER, f"{stored} bits stored in {allocated} bits allocated")
    high = int(dataset.get("HighBit", stored - 1) or stored - 1)
    if not stored - 1 <= high < allocated:
        raise ScanError(Reason.CORRUPT_HEADER, f"high bit {high} for {stored} bits stored in {allocated}")


def _require_length(facts: FileFacts, file: DicomFile) -> None:
    """Check that uncompressed pixels are all there."""
    pixels = file.pixels
    if pixels is None or pixels.length is None:
        raise ScanError(Reason.UNSUPPORTED_SYNTAX, "pixels of undefined length in an uncompressed syntax")
    samples = _positive(file.dataset, "SamplesPerPixel", default=1)
    if file.dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        samples = 2
    bits = math.prod(facts.shape) * samples * _positive(file.dataset, "BitsAllocated")
    needed = math.ceil(bits / 8)
    if pixels.available < min(needed, pixels.length):
        raise ScanError(
            Reason.TRUNCATED_PIXELS, f"{pixels.available} bytes of pixel data in the file, expected {needed}"
        )
    if pixels.length < needed:
        raise ScanError(Reason.TRUNCATED_PIXELS, f"{pixels.length} bytes of pixel data, expected {needed}")


def _positive(dataset: Header, keyword: str, default: int = 0) -> int:
    value = dataset.get(keyword)
    try:
        number = default if value is None else int(value)
    except (TypeError, ValueError) as error:
        raise ScanError(Reason.CORRUPT_HEADER, f"{keyword} is no number") from error
    if number < 1:
        found = "missing" if value is None else str(number)
        raise ScanError(Reason.CORRUPT_HEADER, f"{keyword} is {found}, expected 1 or more")
    return number


def _text(dataset: Header, keyword: str) -> str:
    """A value as text without the NUL characters that no database takes; empty where absent."""
    return str(dataset.get(keyword) or "").replace("\0", "").strip()
