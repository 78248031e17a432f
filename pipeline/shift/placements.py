"""AUROC of scores from several folds, with a variance that knows that scans of one patient belong together."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from pipeline.evaluate.predictions import Flags, Floats, Indices


@dataclass(frozen=True, slots=True)
class Placements:
    """An AUROC and how far it may be off.

    Attributes:
        auroc: Share of the pairs (positive, negative) in which the positive scores higher; ties count half.
        variance: Of that share.
        pairs: Disjoint pairs of patients, the smaller number of positive and negative ones.
    """

    auroc: float
    variance: float
    pairs: int


def clustered_auroc(score: Floats, positive: Flags, units: Indices, folds: Indices) -> Placements:
    """AUROC over pairs of one fold, since scores of two classifiers cannot be compared, with Obuchowski's variance.

    For a positive scan V is the share of its fold's negatives below it (ties half), for a negative scan W the share
    of its fold's positives above it. With m positives of M patients, n negatives of N, I patients in all, and sums
    over each patient's scans of V - A_f and W - A_f (A_f the AUROC of the fold):
    S10 = M / ((M - 1) m) sum (V_i)^2, S01 = N / ((N - 1) n) sum (W_i)^2, S11 = I / (I - 1) sum V_i W_i,
    variance = S10 / m + S01 / n + 2 S11 / (m n).

    Args:
        score: (n,).
        positive: Which scans are positive, (n,).
        units: The patient of each scan as 0..P-1, (n,).
        folds: The fold of each scan, (n,); one that lacks a side is left out.

    Source:
        Obuchowski 1997, Nonparametric Analysis of Clustered ROC Curve Data, section 2; with one scan per patient
        and one fold it is DeLong, DeLong & Clarke-Pearson 1988.
    """
    residual, weight, value = np.zeros(score.size), 0.0, 0.0
    used = np.zeros(score.size, dtype=np.bool_)
    for fold in np.unique(folds):
        p, q = (folds == fold) & positive, (folds == fold) & ~positive
        if not p.any() or not q.any():
            continue
        above = (rankdata(np.concatenate([score[p], score[q]])) - 1)[: p.sum()] - (rankdata(score[p]) - 1)
        below = (rankdata(np.concatenate([-score[q], -score[p]])) - 1)[: q.sum()] - (rankdata(-score[q]) - 1)
        auroc = float(above.mean() / q.sum())
        residual[p], residual[q] = above / q.sum() - auroc, below / p.sum() - auroc
        pairs = float(p.sum() * q.sum())
        value, weight = value + pairs * auroc, weight + pairs
        used |= p | q
    if weight == 0:
        return Placements(float("nan"), float("nan"), 0)
    return _with_variance(value / weight, residual[used], positive[used], units[used])


def _with_variance(auroc: float, residual: Floats, positive: Flags, units: Indices) -> Placements:
    patients = np.unique(units, return_inverse=True)[1]
    count = int(patients.max()) + 1
    sums, scans, clusters = [], [], []
    for rows in (positive, ~positive):
        sums.append(np.bincount(patients[rows], weights=residual[rows], minlength=count))
        scans.append(int(rows.sum()))
        clusters.append(np.unique(patients[rows]).size)
    parts = [k / max(k - 1, 1) * float((s**2).sum()) / n**2 for s, n, k in zip(sums, scans, clusters, strict=True)]
    shared = 2 * count / max(count - 1, 1) * float(sums[0] @ sums[1]) / (scans[0] * scans[1])
    return Placements(auroc, max(0.0, sum(parts) + shared), min(clusters))
