"""What a NIfTI header declares, and whether it can be trusted: size, kind of number, place in the patient."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from pipeline.errors import Reason, ScanError
from pipeline.ingest.budget import require_budget
from pipeline.ingest.faults import FAULTS

HEADERS: dict[int, Callable[..., Any]] = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
RGB24 = 128
NUMBERS = frozenset({2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280})  # integers of 8 to 64 bits, float32, float64
VECTORS = range(1003, 1012)  # intent codes of values that are no intensities: symmetric matrix to quaternion
MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown, metre, millimetre, micrometre
CORNER_TOLERANCE_MM = 1e-3
CORNER_TOLERANCE = 0.01  # of the smallest step: a float32 quaternion is rounded, dcm2niix's by up to 3 um


@dataclass(frozen=True, slots=True, eq=False)
class NiftiHeader:
    """The checked facts of a NIfTI header.

    Attributes:
        shape: Voxels (I, J, K) of one volume.
        volumes: Number of volumes.
        dtype: Of the stored values; the structured one of RGB24 for colour.
        offset: First byte of the voxels.
        slope, inter: Scaling of the stored values; 1 and 0 where there is none.
        affine: Voxel index to RAS+ mm.
    """

    shape: tuple[int, int, int]
    volumes: int
    dtype: np.dtype[np.generic]
    offset: int
    slope: float
    inter: float
    affine: npt.NDArray[np.float64]

    @property
    def volume_bytes(self) -> int:
        """Stored bytes of one volume."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole file, uncompressed."""
        return self.offset + self.volume_bytes * self.volumes


def header_size(start: bytes) -> int:
    """348 or 540 for a NIfTI-1 or NIfTI-2 header by its first bytes and magic, else 0."""
    for size, magic_at in ((348, 344), (540, 4)):
        declared = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")}
        if size in declared and start[magic_at : magic_at + 3] in (b"n+1", b"n+2", b"ni1", b"ni2"):
            return size
    return 0


def parse_header(start: bytes) -> NiftiHeader:
    """Parse and check a NIfTI header.

    Args:
        start: The first 540 bytes of the uncompressed file, or all of a shorter one.

    Raises:
        ScanError: If the file is no single-file NIfTI, or its header cannot be trusted.
    """
    size = header_size(start)
    if not size:
        raise ScanError(Reason.CORRUPT_HEADER, "no NIfTI header, expected 348 or 540 bytes with a magic")
    if start[344 if size == 348 else 4 :][:3] in (b"ni1", b"ni2"):
        raise ScanError(Reason.UNSUPPORTED_OBJECT, "a pair of .hdr and .img; convert it to a single .nii file")
    try:
        header = HEADERS[size](start[:size], check=False)
        code = int(header["datatype"])
        shape, volumes = _shape(header)
        require_budget((*shape, 3 if code == RGB24 else 1))
        slope, inter = _scaling(header)
        return NiftiHeader(
            shape, volumes, _dtype(header, code), _offset(header, size), slope, inter, _affine(header, shape)
        )
    except ScanError:
        raise
    except FAULTS as error:
        raise ScanError(Reason.CORRUPT_HEADER, f"NIfTI header ({type(error).__name__})") from error


def _shape(header: nib.Nifti1Header) -> tuple[tuple[int, int, int], int]:
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise ScanError(Reason.CORRUPT_HEADER, f"{count} dimensions, expected 1 to 7")
    dims = [int(size) for size in header["dim"][1 : count + 1]]
    if min(dims) < 1:
        raise ScanError(Reason.CORRUPT_HEADER, f"a dimension of {min(dims)} voxels")
    dims += [1] * (4 - len(dims))
    if max(dims[4:], default=1) > 1 or int(header["intent_code"]) in VECTORS:
        raise ScanError(Reason.UNSUPPORTED_OBJECT, "several values per voxel, expected one intensity")
    return (dims[0], dims[1], dims[2]), dims[3]


def _dtype(header: nib.Nifti1Header, code: int) -> np.dtype[np.generic]:
    if code not in NUMBERS | {RGB24}:
        raise ScanError(Reason.UNSUPPORTED_OBJECT, f"NIfTI datatype {code}, expected real numbers or RGB24")
    dtype: np.dtype[np.generic] = np.dtype(header.get_data_dtype())
    return dtype


def _offset(header: nib.Nifti1Header, size: int) -> int:
    offset = float(header["vox_offset"])
    if not math.isfinite(offset) or not size <= int(offset) <= 2**24:
        raise ScanError(Reason.CORRUPT_HEADER, "the voxels' offset lies inside the header or far behind it")
    return int(offset)


def _scaling(header: nib.Nifti1Header) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 or not finite means none (NIfTI-1, nifti1.h, scl_slope)."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        return 1.0, 0.0
    if not math.isfinite(inter):
        raise ScanError(Reason.CORRUPT_HEADER, "scl_inter is not finite although scl_slope is")
    return slope, inter


def _affine(header: nib.Nifti1Header, shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """The sform if it is set, else the qform, in mm.

    Raises:
        ScanError: NIFTI_NO_FORM or NIFTI_FORMS_DISAGREE.
    """
    unit = int(header["xyzt_units"]) & 7
    if unit not in MM_PER_UNIT:
        raise ScanError(Reason.CORRUPT_HEADER, f"length unit {unit}, expected metre, millimetre or micrometre")
    scale = np.diag([MM_PER_UNIT[unit]] * 3 + [1.0])
    sform = header.get_sform() if int(header["sform_code"]) > 0 else None
    header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1  # qfac: 0 counts as 1
    qform = header.get_qform() if int(header["qform_code"]) > 0 else None
    affine = sform if sform is not None else qform
    if affine is None:
        raise ScanError(Reason.NIFTI_NO_FORM, "sform and qform codes are both 0, so the voxels lie nowhere")
    affine = scale @ np.asarray(affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise ScanError(Reason.UNSUPPORTED_GEOMETRY, "the affine has no volume or is not finite")
    if sform is not None and qform is not None:
        apart = float(np.abs((affine - scale @ qform)[:3] @ _corners(shape)).max())
        steps = np.linalg.norm(affine[:3, :3], axis=0)
        tolerance = max(CORNER_TOLERANCE_MM, CORNER_TOLERANCE * float(steps.min()))
        if not apart <= tolerance:
            raise ScanError(
                Reason.NIFTI_FORMS_DISAGREE,
                f"sform and qform put a corner {apart:.4g} mm apart, at most {tolerance:.4g} mm is rounding",
            )
    return affine


def _corners(shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """Homogeneous indices of the eight corner voxels, shape (4, 8)."""
    grid = np.array(np.meshgrid(*[(0, size - 1) for size in shape])).reshape(3, -1)
    return np.vstack([grid, np.ones(8)]).astype(np.float64)
