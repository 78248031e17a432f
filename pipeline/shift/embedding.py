"""The leading directions of the features, in which distances are measured."""

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from pipeline.evaluate.predictions import Floats

COMPONENTS = 32


def principal_components(features: npt.NDArray[np.floating], count: int = COMPONENTS) -> Floats:
    """Scores of the rows on their own leading principal directions.

    Rows of **both** sides go in together. Fitted on the reference alone, the directions would fit its noise: its
    scores spread wider than those of scans that were not there when the directions were chosen, and a permutation
    test alarms without any shift. Fitted on both, they do not depend on who lies on which side, and the test is exact.

    Args:
        features: (n, F).
        count: Number of directions at most.

    Returns:
        Shape (n, min(count, n - 1, F)); the first column varies most.
    """
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    rows, columns = centred.shape
    kept = max(1, min(count, rows - 1, columns))
    if rows <= columns:
        chosen = (rows - kept, rows - 1)
        variance, vectors = eigh(centred @ centred.T, subset_by_index=chosen)
        scores = vectors * np.sqrt(np.maximum(variance, 0))
    else:
        chosen = (columns - kept, columns - 1)
        scores = centred @ eigh(centred.T @ centred, subset_by_index=chosen)[1]
    return np.asarray(scores[:, ::-1])
