"""One series: what its headers say, and what comes of reading it as scoring would."""

import dataclasses
import time
from typing import TYPE_CHECKING

from pipeline.check.chain import PixelChain
from pipeline.check.file_chain import image_chain, nifti_chain
from pipeline.check.geometry_proof import GeometryProof, prove_frames
from pipeline.check.look import Look, look_at
from pipeline.check.pixel_chain import dicom_chain
from pipeline.check.row import Measured, SeriesCheck
from pipeline.errors import Reason, ScanError
from pipeline.ingest.faults import FAULTS
from pipeline.ingest.gzip_stream import DAMAGED
from pipeline.ingest.read import read_scan
from pipeline.scan import Scan, SeriesRef

if TYPE_CHECKING:  # torch takes seconds to import, and is needed with a bundle only
    from pipeline.check.trial import Trial
    from pipeline.detect.slices import Slices


def headed(number: int, ref: SeriesRef) -> tuple[SeriesCheck, Look | None]:
    """What the headers of a series say; for DICOM also what they hold."""
    row = SeriesCheck(number, ref)
    if not row.belongs:
        return row, None
    if ref.format == "dicom":
        look = look_at(ref)
        return dataclasses.replace(row, geometry=_proof(ref, look), chain=dicom_chain(ref, look)), look
    geometry, chain = _of_file(ref)
    split = ("volume of a 4D file",) if "#" in ref.series_uid else ()
    return dataclasses.replace(row, geometry=geometry, chain=chain, split_by=split), None


def read(row: SeriesCheck, trial: "Trial | None") -> tuple[SeriesCheck, "Slices | None"]:
    """Read a sound series and, with a bundle, prepare it.

    Returns:
        The row, refused where reading or the bundle refuses it, and the prepared slices if there are some.
    """
    start = time.perf_counter()
    try:
        scan = read_scan(row.ref)
    except ScanError as error:
        return row.refused(str(error)), None
    if trial is None:
        return _measured(row, scan, time.perf_counter() - start), None
    try:
        slices = trial.prepare(scan)
    except ScanError as error:
        return _measured(row, scan, time.perf_counter() - start).refused(str(error)), None
    except MemoryError:
        return row.refused(f"{Reason.OVER_BUDGET}: not enough memory to prepare it now"), None
    row = _measured(row, scan, time.perf_counter() - start)
    return dataclasses.replace(row, preparation=trial.preparation_steps(scan)), slices


def _measured(row: SeriesCheck, scan: Scan, seconds: float) -> SeriesCheck:
    found = Measured(
        lowest=float(scan.voxels.min()),
        highest=float(scan.voxels.max()),
        inverted=scan.inverted,
        colour=scan.colour,
        seconds=seconds,
    )
    return dataclasses.replace(row, measured=found)


def _proof(ref: SeriesRef, look: Look) -> GeometryProof | None:
    if ref.geometry != "patient":
        return None
    proof = prove_frames(look.frames)
    if proof.holds and look.damaged:
        words = f"{look.damaged} of {len(ref.files)} headers cannot be understood, so slices may be missing"
        return dataclasses.replace(proof, holds=False, words=words, affine=None)
    if proof.holds and ref.status == "refused":
        return dataclasses.replace(proof, words=f"{proof.words}; the series is refused for another reason")
    return proof


def _of_file(ref: SeriesRef) -> tuple[GeometryProof | None, PixelChain]:
    """Place and chain of a NIfTI file or an image; empty where it changed since it was found."""
    try:
        return nifti_chain(ref) if ref.format == "nifti" else (None, image_chain(ref))
    except (*FAULTS, *DAMAGED):
        return None, PixelChain(())
