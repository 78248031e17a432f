"""What one file is, told by its content: the one place where a fault in a file becomes a reason."""

import dataclasses
import hashlib
import os
from io import BufferedReader
from pathlib import Path

from pipeline.errors import Reason, ScanError
from pipeline.ingest.dicom_file import DicomFile, looks_like_dicom, parse, plain_file
from pipeline.ingest.facts import FileFacts
from pipeline.ingest.faults import FAULTS, scan_error
from pipeline.ingest.find import FoundFile
from pipeline.ingest.headers import dicom_facts
from pipeline.ingest.images import JPEG, PNG, image_facts
from pipeline.ingest.nifti import GZIP, nifti_facts
from pipeline.ingest.nifti_header import header_size
from pipeline.ingest.silence import quiet

DICOM_NAMES = (".dcm", ".dicom", ".ima")
NIFTI_NAMES = (".nii", ".nii.gz")
IMAGE_NAMES = (".png", ".jpg", ".jpeg")
ZIP = b"PK\x03\x04"
START_BYTES = 540


def examine(found: FoundFile, *, hashed: bool = True) -> FileFacts:
    """Read one file's header and hash its content; nothing that a file holds makes this raise.

    Args:
        found: The file or link.
        hashed: Whether the content is hashed in any case; else only where nothing else tells the file from others.
    """
    facts = FileFacts(path=str(found.path), source=found.source)
    if found.reason:
        return dataclasses.replace(facts, status=found.status, reason=found.reason)
    try:
        with found.path.open("rb") as file:
            state = os.fstat(file.fileno())
            plain = plain_file(file)
            file.seek(0)
            facts = dataclasses.replace(
                facts,
                size=state.st_size,
                mtime_ns=state.st_mtime_ns,
                sha256=hashlib.file_digest(file, "sha256").hexdigest() if hashed or not _names_itself(plain) else "",
            )
            if plain is not None:
                return _dicom(plain, facts)
            with quiet():
                return _by_content(facts, file)
    except ScanError as error:
        return dataclasses.replace(facts, status="refused", reason=str(error))
    except FAULTS as error:
        code = Reason.UNREADABLE if isinstance(error, OSError) and error.errno else Reason.CORRUPT_FILE
        return dataclasses.replace(facts, status="refused", reason=str(scan_error(error, code)))


def _names_itself(file: DicomFile | None) -> bool:
    """Whether a file is DICOM of the ordinary kind with UIDs of its own."""
    return file is not None and bool(file.dataset.get("SOPInstanceUID") and file.dataset.get("SeriesInstanceUID"))


def _dicom(file: DicomFile, facts: FileFacts) -> FileFacts:
    span = None
    if file.pixels and not file.inflated:
        length = file.pixels.available if file.pixels.length is None else file.pixels.length
        span = (file.pixels.offset, min(length, file.pixels.available))
    return dicom_facts(file, dataclasses.replace(facts, pixel_span=span))


def _by_content(facts: FileFacts, file: BufferedReader) -> FileFacts:
    """Dispatch on the first bytes; the name only decides how a file that is nothing is told."""
    file.seek(0)
    start = file.read(START_BYTES)
    path, name = Path(facts.path), facts.path.lower()
    if not start:
        raise ScanError(Reason.EMPTY_FILE, "the file is empty")
    if looks_like_dicom(start):
        dicom = parse(file)
        if start[128:132] == b"DICM" or dicom.dataset.get("SOPClassUID"):
            return _dicom(dicom, facts)
    if header_size(start) or (start[:2] == GZIP and name.endswith(NIFTI_NAMES)):
        return nifti_facts(path, facts)
    if start.startswith((PNG, JPEG)):
        return image_facts(path, facts)
    return _nothing_known(facts, start, name)


def _nothing_known(facts: FileFacts, start: bytes, name: str) -> FileFacts:
    if name.endswith(DICOM_NAMES):
        raise ScanError(Reason.NOT_DICOM, "no DICOM data although its name says so")
    if name.endswith(NIFTI_NAMES):
        raise ScanError(Reason.CORRUPT_HEADER, "no NIfTI header although its name says so")
    if name.endswith(IMAGE_NAMES):
        raise ScanError(Reason.CORRUPT_FILE, "no PNG or JPEG although its name says so")
    if start.startswith((ZIP, GZIP)):
        reason = f"{Reason.ARCHIVE}: archive, not opened; unpack it first"
    else:
        reason = f"{Reason.NOT_AN_IMAGE}: no DICOM, NIfTI, PNG or JPEG"
    return dataclasses.replace(facts, status="ignored", reason=reason)
