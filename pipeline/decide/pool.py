"""How much of a pool of unlabelled scans could be normal, as the calibration's normals were."""

import numpy as np
import numpy.typing as npt

from pipeline.errors import CohortError
from pipeline.evaluate.proportions import wilson_limits

LAMBDA = 0.5
LEAST = 20
LEAST_SHARE = 0.2  # a pool of which fewer could be normal comes from elsewhere
LEAST_POOL = 35  # of fewer scans, the interval reaches LEAST_SHARE even where none looks normal


def share_normal(p_values: npt.ArrayLike) -> tuple[float, float, float]:
    """Share of a pool that could be normal, pi0 = #{p > 0.5} / (m (1 - 0.5)), at most 1; and its 95 % limits.

    P-values of normals are spread evenly over 0..1, those of anomalies lie near 0, so nearly all above one half are of
    normals. It leans upwards: an anomaly that looks normal counts as one. The limits are Wilson's on the count among m
    independent scans; they do not know of several scans of a patient, and not that all p-values share one calibration.

    Args:
        p_values: Conformal p-values of a pool's scans, shape (m,), 0..1.

    Returns:
        Estimate, low and high, each 0..1. Near 0, hardly any scan looks like the normals of the calibration: the
        pool comes from elsewhere, and neither scores nor decisions mean on it what they say.

    Raises:
        CohortError: If there are fewer than 20 scans, or a value is no p-value.

    Source:
        Storey 2002, A direct approach to false discovery rates, eq. 6; Wilson 1927.
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or p.size < LEAST:
        raise CohortError(f"share of normals: {p.size} scans, at least {LEAST} are needed")
    if not ((p >= 0) & (p <= 1)).all():
        raise CohortError("share of normals: a p-value is not within 0..1")
    share = float((p > LAMBDA).mean())
    low, high = wilson_limits(share, p.size)
    return _normal(share), _normal(low), _normal(high)


def _normal(share: float) -> float:
    """pi0 for a share of p-values above lambda."""
    return min(1.0, share / (1 - LAMBDA))
