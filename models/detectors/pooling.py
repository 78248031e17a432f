"""From the scores of slices to that of the scan."""

import math

from torch import Tensor

from models.errors import DetectorError

ROUNDING = 1e-9


def top_k_mean(scores: Tensor, share: float = 0.1) -> float:
    """Mean of the k = ceil(share N) highest of N slice scores; that of a single slice is itself.

    A lesion fills few slices, so that a mean over all would drown it, and the highest alone is one slice's noise.

    Args:
        scores: Shape (N,), N >= 1, finite.
        share: In (0, 1].

    Raises:
        DetectorError: If there is no score, one is not finite, or the share is out of range.
    """
    if not 0 < share <= 1:
        raise DetectorError(f"share of slices {share}: expected more than 0, at most 1")
    if scores.ndim != 1 or not len(scores) or not bool(scores.isfinite().all()):
        raise DetectorError(f"slice scores of shape {tuple(scores.shape)}: expected one finite number per slice")
    k = math.ceil(share * len(scores) - ROUNDING)  # 0.1 * 30 is a little more than 3
    return float(scores.double().topk(max(k, 1)).values.mean())
