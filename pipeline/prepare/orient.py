"""Turning a volume to the patient's axes without resampling it."""

import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from pipeline.scan import Scan


def to_lps(scan: Scan) -> npt.NDArray[np.float32]:
    """Voxels (I, J, K[, 3]) with axes flipped and swapped so that I runs to the patient's left, J to the back, K up.

    Oblique volumes go to the nearest axes; no value is interpolated.
    """
    here = io_orientation(scan.affine)
    turned: npt.NDArray[np.float32] = apply_orientation(scan.voxels, ornt_transform(here, axcodes2ornt("LPS")))
    return turned
