"""The evidence that slices make one volume: their steps, their line, their tilt, against ingest's own limits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from pipeline.errors import ScanError
from pipeline.ingest.facts import FrameFacts
from pipeline.ingest.geometry import (
    SIDEWAYS_STEPS,
    Array,
    affine_of,
    along_normal,
    out_of_place,
    require_even,
    sideways,
    usual_step,
)

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps from slice to slice along the normal, in mm.

    Attributes:
        smallest, median, largest: Of the steps.
        deviation: Largest difference of a step from the median one.
        tolerance: What is allowed of that.
        aside: How far the worst step lies off the mean step.
        drift: How far the worst slice lies from where even steps from the first to the last would put it.
        line_tolerance: What is allowed of `aside` and of `drift`.
        positions: Each slice's distance from the first.
    """

    smallest: float
    median: float
    largest: float
    deviation: float
    tolerance: float
    aside: float
    drift: float
    line_tolerance: float
    positions: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class GeometryProof:
    """Whether a volume's place in the patient is proved.

    Attributes:
        holds: Whether ingest's rules hold.
        words: Why not, or what the proof rests on.
        slices: Number of slices.
        steps: None for a single slice, and where the header does not place the slices.
        affine: Voxel index to RAS+ mm; None where the rules do not hold.
    """

    holds: bool
    words: str
    slices: int
    steps: Steps | None = None
    affine: Matrix | None = None

    @property
    def axes(self) -> str:
        """Where I, J and K lead, such as `LPS`; empty without an affine."""
        return "".join(nib.aff2axcodes(np.array(self.affine))) if self.affine else ""

    @property
    def handedness(self) -> str:
        """`right` or `left`; empty without an affine."""
        if self.affine is None:
            return ""
        return "right" if np.linalg.det(np.array(self.affine)[:3, :3]) > 0 else "left"

    @property
    def tilt_degrees(self) -> float | None:
        """Angle between the step from slice to slice and the slices' normal, 0 where nothing is sheared."""
        if self.affine is None:
            return None
        i, j, step = np.array(self.affine)[:3, :3].T
        normal = np.cross(i, j)
        cosine = abs(step @ normal) / (np.linalg.norm(step) * np.linalg.norm(normal))
        return math.degrees(math.acos(min(1.0, float(cosine))))

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Length of one step along I, J and K; None without an affine."""
        if self.affine is None:
            return None
        i, j, k = np.linalg.norm(np.array(self.affine)[:3, :3], axis=0).tolist()
        return (i, j, k)


def prove_frames(frames: Sequence[FrameFacts]) -> GeometryProof:
    """Measure the frames of one volume and hold them against the rules by which ingest reads them.

    Args:
        frames: In any order.
    """
    if not frames:
        return GeometryProof(False, "no header of it could be read", 0)
    try:
        distances = along_normal(frames)
    except ScanError as error:
        return GeometryProof(False, error.words, len(frames))
    ordered = [frames[int(at)] for at in distances.argsort(kind="stable")]
    steps = _steps(np.sort(distances), ordered)
    try:
        require_even(ordered)
    except ScanError as error:
        return GeometryProof(False, error.words, len(frames), steps)
    words = "steps from Image Position (Patient)" if steps else "one slice; its thickness is the third step"
    return GeometryProof(True, words, len(frames), steps, matrix(affine_of(ordered)))


def prove_affine(affine: Array, slices: int, words: str) -> GeometryProof:
    """The proof of a volume that one affine places as a whole, such as NIfTI."""
    return GeometryProof(True, words, slices, affine=matrix(affine))


def matrix(affine: Array) -> Matrix:
    """A (4, 4) array as rows."""
    return tuple(tuple(row) for row in affine.tolist())


def _steps(distances: Array, ordered: Sequence[FrameFacts]) -> Steps | None:
    gaps = np.diff(distances)
    if len(gaps) == 0:
        return None
    median, tolerance = usual_step(gaps)
    return Steps(
        smallest=float(gaps.min()),
        median=median,
        largest=float(gaps.max()),
        deviation=float(np.abs(gaps - median).max()),
        tolerance=tolerance,
        aside=float(sideways(ordered).max()),
        drift=float(out_of_place(ordered).max()),
        line_tolerance=SIDEWAYS_STEPS * tolerance,
        positions=tuple((distances - distances[0]).tolist()),
    )
