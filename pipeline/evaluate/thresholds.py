"""Operating points: where a score becomes a call."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.errors import CohortError
from pipeline.evaluate.predictions import Flags, Floats


def threshold_at_sensitivity(score: Floats, positive: Flags, target: float) -> float:
    """The largest t with #{positives with score >= t} / #{positives} >= target.

    Args:
        score: Scores, shape (n,); higher means more likely positive.
        positive: Which rows are positive, shape (n,).
        target: Share of positives to be found, 0 < target <= 1.

    Returns:
        One of the positives' scores.

    Raises:
        CohortError: If there is no positive row or the target is out of range.
    """
    if not 0 < target <= 1:
        raise CohortError(f"sensitivity target {target}: expected a share above 0 and at most 1")
    found = np.sort(np.asarray(score, dtype=np.float64)[np.asarray(positive, dtype=bool)])[::-1]
    if not found.size:
        raise CohortError("threshold at a sensitivity: no positive rows to find")
    shares = np.arange(1, found.size + 1) / found.size
    return float(found[np.argmax(shares >= target)])


def class_thresholds(
    classes: Sequence[str], probability: Floats, truth: npt.NDArray[np.int8], target: float
) -> dict[str, float]:
    """Per class, the one-versus-rest threshold that finds the target share of its positives.

    Args:
        classes: L names.
        probability: Calibrated probabilities, shape (n, L).
        truth: 0/1 indicator, shape (n, L).
        target: Share of positives to be found, 0 < target <= 1.

    Raises:
        CohortError: If a class has no positive row.
    """
    return {
        name: threshold_at_sensitivity(probability[:, c], truth[:, c] == 1, target) for c, name in enumerate(classes)
    }
