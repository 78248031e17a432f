"""Which grey values become black and white for the network."""

import numpy as np

from pipeline.config import IntensityRule
from pipeline.errors import Reason, ScanError
from pipeline.scan import Scan

CT_WINDOW = (-160.0, 240.0)  # centre 40 HU, width 400 HU: soft tissue
PERCENTILES = (0.5, 99.5)
MOST_VALUES = 2_000_000


def value_range(scan: Scan, rule: IntensityRule, window: tuple[float, float] | None) -> tuple[float, float]:
    """Lowest and highest value, mapped to 0 and 1.

    Args:
        scan: The scan.
        rule: `window`: radiographs by the window of their header, CT by -160..240 HU. `percentile`: 0.5 % to
            99.5 % of the scan's own values. `auto`: the window where the scan has one, else percentiles.
        window: A fixed range that goes before any rule; not used for colour, which is 0..255.

    Raises:
        ScanError: `NOT_APPLICABLE` if a window is asked for and there is none; `NO_CONTRAST` if all values are
            equal.
    """
    lowest, highest = float(scan.voxels.min()), float(scan.voxels.max())
    if lowest == highest:
        raise ScanError(Reason.NO_CONTRAST, "all pixels have one value, so there is nothing to see")
    if scan.colour:
        return 0.0, 255.0
    if window is not None:
        return window
    own = CT_WINDOW if scan.modality == "CT" else scan.window
    if rule == "window" and own is None:
        raise ScanError(Reason.NOT_APPLICABLE, "no display window in the header, and intensity is `window`")
    if rule != "percentile" and own is not None:
        return own
    flat = scan.voxels.reshape(-1)
    low, high = np.percentile(flat[:: 1 + flat.size // MOST_VALUES], PERCENTILES)
    return (float(low), float(high)) if low < high else (lowest, highest)
