"""What one file is, told by its content: the one place where a fault in a file becomes a reason."""

import dataclasses
import hashlib
import os
from io import BufferedReader
from pathlib import Path

from pipeline.errors import Reason, ScanError
from pipeline.ingest.dicom_file import looks_like_dicom, parse, quiet
from pipeline.ingest.facts import FileFacts
from pipeline.ingest.faults import FAULTS, scan_error
from pipeline.ingest.find import FoundFile
from pipeline.ingest.headers import dicom_facts
from pipeline.ingest.images import JPEG, PNG, image_facts
from pipeline.ingest.nifti import GZIP, nifti_facts
from pipeline.ingest.nifti_header import header_size

DICOM_NAMES = (".dcm", ".dicom", ".ima")
NIFTI_NAMES = (".nii", ".nii.gz")
IMAGE_NAMES = (".png", ".jpg", ".jpeg")
ZIP = b"PK\x03\x04"
START_BYTES = 540


def examine(found: FoundFile) -> FileFacts:
    """Read one file's header and hash its content; nothing that a file holds makes this raise."""
    facts = FileFacts(path=str(found.path), source=found.source)
    if found.reason:
        refused = found.reason.startswith(Reason.UNREADABLE)
        return dataclasses.replace(facts, status="refused" if refused else "ignored", reason=found.reason)
    try:
        with found.path.open("rb") as file:
            facts = _hashed(facts, file)
            with quiet():
                return _by_content(facts, file)
    except ScanError as error:
        return dataclasses.replace(facts, status="refused", reason=str(error))
    except FAULTS as error:
        code = Reason.CORRUPT_FILE if facts.sha256 else Reason.UNREADABLE
        return dataclasses.replace(facts, status="refused", reason=str(scan_error(error, code)))


def _hashed(facts: FileFacts, file: BufferedReader) -> FileFacts:
    state = os.fstat(file.fileno())
    return dataclasses.replace(
        facts,
        size=state.st_size,
        mtime_ns=state.st_mtime_ns,
        sha256=hashlib.file_digest(file, "sha256").hexdigest(),
    )


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
            span = (dicom.pixels.offset, dicom.pixels.available) if dicom.pixels and not dicom.inflated else None
            return dicom_facts(dicom, dataclasses.replace(facts, pixel_span=span))
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
    if start.startswith(ZIP):
        reason = f"{Reason.ARCHIVE}: archive, not opened; unpack it first"
    else:
        reason = f"{Reason.NOT_AN_IMAGE}: no DICOM, NIfTI, PNG or JPEG"
    return dataclasses.replace(facts, status="ignored", reason=reason)
