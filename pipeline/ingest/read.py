"""Read the voxels of any series that ingest found sound."""

from pipeline.errors import Reason, ScanError
from pipeline.ingest.dicom import read_dicom
from pipeline.ingest.faults import FAULTS, scan_error
from pipeline.ingest.images import read_image
from pipeline.ingest.nifti import read_nifti
from pipeline.scan import Scan, SeriesRef

READERS = {"dicom": read_dicom, "nifti": read_nifti, "image": read_image}


def read_scan(ref: SeriesRef) -> Scan:
    """Read one series.

    Args:
        ref: As `scan_sources` gave it.

    Raises:
        ScanError: If it was refused, or its pixels cannot be decoded or trusted.
    """
    if ref.status != "ok" or not ref.format:
        code, _, words = ref.reason.partition(": ")
        raise ScanError(Reason(code) if code in set(Reason) else Reason.NOT_AN_IMAGE, words or "not a scan")
    try:
        scan = READERS[ref.format](ref)
    except FAULTS as error:
        raise scan_error(error, Reason.DECODE_FAILED) from error
    return scan
