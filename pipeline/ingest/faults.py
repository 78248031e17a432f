"""The exceptions that damaged or hostile files provoke in the libraries underneath, told as reasons."""

import struct
import zlib

import nibabel as nib
from nibabel.filebasedimages import ImageFileError
from PIL import Image
from pydicom.errors import BytesLengthException, InvalidDicomError

from pipeline.errors import Reason, ScanError

FAULTS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,  # also RecursionError, NotImplementedError and what imagecodecs raises
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    ImageFileError,
    Image.DecompressionBombError,
    BytesLengthException,
    InvalidDicomError,
    nib.spatialimages.HeaderDataError,
)


def scan_error(error: BaseException, code: Reason) -> ScanError:
    """Tell a library's exception as a `ScanError`.

    Its message is left out, since libraries quote the header, and with it the patient.

    Args:
        error: One of `FAULTS`.
        code: The reason where the exception itself does not name a better one.
    """
    if isinstance(error, ScanError):
        return error
    if isinstance(error, (MemoryError, Image.DecompressionBombError)):
        return ScanError(Reason.OVER_BUDGET, "needs more memory than there is")
    if isinstance(error, FileNotFoundError):
        return ScanError(Reason.CHANGED_FILE, "the file is no longer there")
    if isinstance(error, PermissionError):
        return ScanError(Reason.UNREADABLE, "no permission to read the file")
    return ScanError(code, f"the file cannot be understood ({type(error).__name__})")
