"""Frechet distance between two sets of features: a description, not a test."""

import numpy as np
from scipy.linalg import eigh

from pipeline.evaluate.predictions import Floats


def frechet_distance(first: Floats, second: Floats) -> float:
    """||m1 - m2||^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)), m and S the mean and covariance of each side.

    Tr (S1 S2)^(1/2) is the sum of the roots of the eigenvalues of S1^(1/2) S2 S1^(1/2), which is symmetric, so that
    rounding cannot make it complex. The distance of two samples of one population is not 0, and far from it where a
    side has few more scans than D: it is to be read beside what the reference gives against itself.

    Args:
        first, second: Shape (n, D) and (m, D), n and m at least 2; D small, such as 32 principal directions.

    Source:
        Dowson & Landau 1982, The Frechet Distance between Multivariate Normal Distributions; Heusel et al. 2017.
    """
    gap = first.mean(axis=0) - second.mean(axis=0)
    s1, s2 = (np.atleast_2d(np.cov(side, rowvar=False)) for side in (first, second))
    values, vectors = eigh(s1)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    overlap = np.sqrt(np.maximum(eigh(root @ s2 @ root, eigvals_only=True), 0)).sum()
    return max(0.0, float(gap @ gap + np.trace(s1) + np.trace(s2) - 2 * overlap))
