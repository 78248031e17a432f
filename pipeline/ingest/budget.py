"""How large a scan may declare itself to be, checked before anything is allocated or decoded."""

import math
from collections.abc import Sequence

from pipeline.errors import Reason, ScanError

BUDGET_BYTES = 2 * 2**30
BYTES_PER_VOXEL = 4  # float32


def require_budget(shape: Sequence[int], *, budget: int = BUDGET_BYTES) -> None:
    """Check that a scan of this shape, in float32, fits.

    Raises:
        ScanError: OVER_BUDGET if it does not.
    """
    needed = math.prod(shape) * BYTES_PER_VOXEL
    if needed > budget:
        sizes = "x".join(str(size) for size in shape)
        raise ScanError(Reason.OVER_BUDGET, f"{sizes} voxels need {needed} bytes, the budget is {budget} for one scan")
