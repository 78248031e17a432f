"""Write each series as ingest read it: NIfTI files and series.csv."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from pipeline.errors import ScanError
from pipeline.ingest.gzip_stream import deflating
from pipeline.ingest.read import read_scan
from pipeline.ingest.series_csv import Row, row_of, write_series_csv
from pipeline.scan import Scan, SeriesRef
from pipeline.workspace import whole_file

RGB24 = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
NIFTI1_LARGEST = 2**15 - 1
FORM_TOLERANCE_MM = 2e-4
SCANNER = 1  # NIfTI form code: scanner anatomical coordinates
ALIGNED = 2


def convert(refs: Sequence[SeriesRef], out: Path) -> list[Row]:
    """Write `<n>.nii.gz` for each series that can be read, counted from 1, and `series.csv`.

    Args:
        refs: As `scan_sources` gave them.
        out: Folder; made if it is not there.

    Returns:
        The lines of series.csv, in the order of `refs`.
    """
    rows: list[Row] = []
    written = 0
    for ref in refs:
        row = row_of(ref)
        if ref.status == "ok":
            try:
                scan = read_scan(ref)
                write_nifti(out / f"{written + 1}.nii.gz", scan)
                written += 1
                row = _converted(row, scan, f"{written}.nii.gz")
            except ScanError as error:
                row = dataclasses.replace(row, status="refused", reason=str(error))
        rows.append(row)
    write_series_csv(out / "series.csv", rows)
    return rows


def write_nifti(path: Path, scan: Scan) -> None:
    """Write one scan: float32, or RGB24 for colour, RAS+ mm.

    The sform always holds the affine; the qform does as well where it can, which is where nothing is sheared.
    """
    voxels: np.ndarray[tuple[int, ...], np.dtype[Any]] = scan.voxels
    if scan.colour:
        voxels = np.ascontiguousarray(voxels.round().clip(0, 255).astype(np.uint8)).view(RGB24)[..., 0]
    kind: Callable[..., Any] = nib.Nifti1Image if max(voxels.shape) <= NIFTI1_LARGEST else nib.Nifti2Image
    image = kind(voxels, scan.affine)
    image.header.set_xyzt_units("mm")
    code = SCANNER if scan.geometry == "patient" else ALIGNED
    image.set_sform(scan.affine, code)
    image.set_qform(scan.affine, code, strip_shears=True)
    if not np.allclose(image.get_qform(), scan.affine, rtol=0, atol=FORM_TOLERANCE_MM / max(voxels.shape)):
        image.set_qform(None, 0)
    with whole_file(path, mode="wb") as file, deflating(file) as gz:
        gz.write(image.to_bytes())


def _converted(row: Row, scan: Scan, file: str) -> Row:
    return dataclasses.replace(
        row, shape=tuple(scan.voxels.shape[:3]), geometry=scan.geometry, inverted=scan.inverted, file=file
    )
