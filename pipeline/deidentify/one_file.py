"""One DICOM file in, the bytes of its de-identified counterpart out."""

import io
from collections import Counter
from dataclasses import dataclass

import pydicom
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from pipeline.deidentify.cleaner import Cleaner, patient_identity
from pipeline.deidentify.identities import identities_of
from pipeline.deidentify.options import Options
from pipeline.deidentify.pixels import add_pixels
from pipeline.deidentify.secret import Secret
from pipeline.errors import Reason, ScanError
from pipeline.ingest.dicom_file import DicomFile
from pipeline.ingest.syntaxes import DECODERS, NATIVE

IMPLEMENTATION_UID = "2.25.277468209846543826071459160391574428317"
IMPLEMENTATION = "SCANSHIFT"
# Objects whose whole content the walk understands. Documents, sound, film and raw data can hold anyone's name.
WITH_PIXELS = ("Image Storage", "Segmentation Storage", "Parametric Map Storage", "RT Dose Storage", "US Volume")
WITHOUT_PIXELS = (
    " SR Storage",
    "Key Object Selection Document Storage",
    "Softcopy Presentation State Storage",
    "Spatial Registration Storage",
    "RT Structure Set Storage",
    "Real World Value Mapping Storage",
)
REFUSED = ("Video", "DICOS", "Eddy", "Hardcopy", "Audio", "Surface", "Trial", "Deformable")


@dataclass(frozen=True, slots=True, eq=False)
class Cleaned:
    """A de-identified object.

    Attributes:
        content: The whole file.
        place: Where it belongs below the output folder, made of pseudonyms.
        changes: How often which element was changed how.
        masked: Whether pixels were blackened.
    """

    content: bytes
    place: str
    changes: Counter[tuple[str, str]]
    masked: bool


def deidentify(file: DicomFile, secret: Secret, options: Options) -> Cleaned:
    """De-identify one object.

    Raises:
        ScanError: If it is of a kind that is not handled, may have text in its pixels, or is damaged.
    """
    source = file.dataset
    if not isinstance(source, Dataset):
        raise TypeError("every element must have been read, see parse_every_element")
    has_pixels = _require_known(file)
    cleaner = Cleaner(
        secret=secret,
        options=options,
        patient=patient_identity(source),
        identities=identities_of(source),
        little_endian=source.original_encoding[1] is not False,
    )
    out = cleaner.clean(source)
    out.PatientID = out.PatientName = secret.patient(cleaner.patient)
    masked = has_pixels and add_pixels(file, source, out, options)
    options.stamp(out, masked=masked)
    series = str(source.get("SeriesInstanceUID") or source.get("StudyInstanceUID") or "")
    place = f"{out.PatientID}/{secret.folder(series)}/{out.SOPInstanceUID}.dcm"
    return Cleaned(_written(out, file), place, cleaner.changes, masked)


def _require_known(file: DicomFile) -> bool:
    """Check that the object is of a kind that is handled.

    Returns:
        Whether it is one with pixels.
    """
    source = file.dataset
    kind = UID(str(source.get("SOPClassUID") or ""))
    name = kind.name if kind.type == "SOP Class" else ""
    if not name and "DirectoryRecordSequence" in source:
        raise ScanError(Reason.NO_PIXELS, "a DICOMDIR: its records name the patients; make a new one if need be")
    if not name or any(part in name for part in REFUSED):
        raise ScanError(Reason.UNSUPPORTED_OBJECT, "a kind of object of which not all content is known to be safe")
    has_pixels = any(part in name for part in WITH_PIXELS)
    if not has_pixels and not any(part in name for part in WITHOUT_PIXELS):
        raise ScanError(Reason.UNSUPPORTED_OBJECT, "a kind of object of which not all content is known to be safe")
    if not source.get("SOPInstanceUID"):
        raise ScanError(Reason.CORRUPT_HEADER, "no SOP Instance UID; every object has one")
    compressed = file.syntax in DECODERS and UID(file.syntax).type == "Transfer Syntax"  # one that pydicom can write
    if file.syntax not in NATIVE and not compressed:
        raise ScanError(Reason.UNSUPPORTED_SYNTAX, "a transfer syntax that is not handled, such as video")
    return has_pixels


def _written(dataset: Dataset, file: DicomFile) -> bytes:
    """The object as a file: an empty preamble, and nothing but the required elements in its meta group."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if file.syntax in NATIVE else UID(file.syntax)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = IMPLEMENTATION
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return out.getvalue()
