"""Turning a volume to the patient's axes without resampling it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from pipeline.scan import Scan


@dataclass(frozen=True, slots=True)
class Turn:
    """How stored axes become turned ones; no value is interpolated.

    Attributes:
        source: For each turned axis the stored one that it is.
        flipped: For each turned axis whether it runs against the stored one.
    """

    source: tuple[int, int, int] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    def apply(self, voxels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Stored voxels (I, J, K[, 3]) turned; a view."""
        swapped = voxels.transpose(*self.source, *range(3, voxels.ndim))
        return swapped[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]

    def undo(self, place: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
        """Stored coordinates (3,) of turned ones, in a scan whose stored shape is (I, J, K)."""
        stored = np.empty(3)
        for value, axis, flip in zip(place, self.source, self.flipped, strict=True):
            stored[axis] = shape[axis] - 1 - value if flip else value
        return stored

    def place(self, stored: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
        """Turned coordinates (3,) of stored ones: what `undo` takes back."""
        return np.array(
            [
                shape[axis] - 1 - stored[axis] if flip else stored[axis]
                for axis, flip in zip(self.source, self.flipped, strict=True)
            ]
        )


def lps_turn(affine: npt.NDArray[np.float64]) -> Turn:
    """The turn after which I runs to the patient's left, J to the back, K up; oblique scans go to the nearest axes."""
    change = ornt_transform(io_orientation(affine), axcodes2ornt("LPS"))
    i, j, k = (int(axis) for axis in np.argsort(change[:, 0]))
    return Turn((i, j, k), (bool(change[i, 1] < 0), bool(change[j, 1] < 0), bool(change[k, 1] < 0)))


def to_lps(scan: Scan) -> npt.NDArray[np.float32]:
    """Voxels (I, J, K[, 3]) with axes flipped and swapped so that I runs to the patient's left, J to the back, K up.

    Oblique volumes go to the nearest axes; no value is interpolated.
    """
    return lps_turn(scan.affine).apply(scan.voxels)
