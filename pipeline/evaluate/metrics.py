"""What one class's scores are worth, one versus rest, under any weighting of the patients.

Every number is a function of patient weights, so the plain value (all ones), a bootstrap resample (how often each
patient was drawn) and a leave-one-out value (one zero) come from the same code. Weights have shape (P, r): P
patients by r weightings, so that one pass over the sorted rows serves all r at once.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pipeline.evaluate.predictions import Flags, Floats, Indices

METRICS = ("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "f1")


@dataclass(frozen=True, slots=True, eq=False)
class RankedScores:
    """Rows of one class in ascending order of score, with their ties.

    Attributes:
        positive: Patient of each positive row, shape (p,).
        negative: Patient of each negative row, shape (q,).
        below: Number of negative rows that score lower than each positive row, shape (p,).
        not_above: Number of negative rows that score lower or the same, shape (p,).
        first_tied: Index of the first positive row with the same score, shape (p,).
    """

    positive: Indices
    negative: Indices
    below: Indices
    not_above: Indices
    first_tied: Indices


def rank_scores(score: Floats, positive: Flags, patient: Indices) -> RankedScores:
    """Sort once what `ranking_areas` walks through for every weighting; all arguments have shape (n,)."""
    order = np.argsort(score, kind="stable")
    ups, downs = order[positive[order]], order[~positive[order]]
    return RankedScores(
        positive=patient[ups],
        negative=patient[downs],
        below=np.searchsorted(score[downs], score[ups], side="left"),
        not_above=np.searchsorted(score[downs], score[ups], side="right"),
        first_tied=np.searchsorted(score[ups], score[ups], side="left"),
    )


def ranking_areas(ranked: RankedScores, weights: Floats) -> Floats:
    """Weighted AUROC and average precision; ties count exactly.

    With w the weight of a positive row i, W+ and W- the weights of all positive and negative rows:
    AUROC = sum_i w_i (L_i + T_i / 2) / (W+ W-), with L_i and T_i the weights of negatives scoring lower and the same;
    AUPRC = sum_i w_i precision_i / W+, precision_i over all rows that score at least as high as row i.

    Args:
        ranked: From `rank_scores`.
        weights: Patient weights, shape (P, r).

    Returns:
        Shape (2, r): AUROC and AUPRC, NaN where the positive or negative rows weigh nothing.

    Source:
        Hanley & McNeil 1982; average precision without interpolation, as scikit-learn defines it.
    """
    row = weights[ranked.positive]
    lower, found = _running_sum(weights[ranked.negative]), _running_sum(row)
    all_up, all_down = found[-1], lower[-1]
    left = lower[ranked.below]
    tied = ranked.not_above != ranked.below
    true_positive = all_up - found[ranked.first_tied]
    false_positive = all_down - left
    with np.errstate(invalid="ignore", divide="ignore"):
        called = np.maximum(true_positive + false_positive, np.finfo(np.float64).tiny)
        auprc = np.einsum("ij,ij->j", row, true_positive / called) / all_up
        wins = np.einsum("ij,ij->j", row, left)
        if tied.any():
            ties = lower[ranked.not_above[tied]] - left[tied]
            wins = wins + np.einsum("ij,ij->j", row[tied], ties) / 2
        auroc = wins / (all_up * all_down)
    areas: Floats = np.stack([auroc, auprc])
    areas[:, (all_up == 0) | (all_down == 0)] = np.nan
    return areas


def _running_sum(rows: Floats) -> Floats:
    """Sums of the first 0, 1, ... rows, shape (rows + 1, r)."""
    sums = np.zeros((rows.shape[0] + 1, rows.shape[1]))
    np.cumsum(rows, axis=0, out=sums[1:])
    return sums


def sum_by_patient(columns: Floats, patient: Indices, patients: int) -> sparse.csr_array:
    """Sums of each column over each patient's rows, so that weighting the rows is one small product.

    Sparse, because most entries are zero and because its products do not depend on the number of threads.

    Args:
        columns: Shape (n, K).
        patient: Patient of each row, shape (n,).
        patients: P, the number of patients.

    Returns:
        Shape (K, P).
    """
    sums = np.zeros((patients, columns.shape[1]))
    np.add.at(sums, patient, columns)
    return sparse.csr_array(sums.T)


def count_cells(positive: Flags, called: Flags) -> Floats:
    """Which of true positive, false positive, true negative, false negative each row is; 0/1, shape (n, 4)."""
    cells = (positive & called, ~positive & called, ~positive & ~called, positive & ~called)
    return np.stack(cells, axis=1).astype(np.float64)


def count_metrics(counts: Floats) -> Floats:
    """What the four counts say at the operating point.

    sensitivity = TP / (TP + FN), specificity = TN / (TN + FP), PPV = TP / (TP + FP), NPV = TN / (TN + FN),
    F1 = 2 TP / (2 TP + FP + FN).

    Args:
        counts: TP, FP, TN, FN, shape (4, r).

    Returns:
        Shape (5, r), in the order above; NaN for 0 / 0, and for F1 where there is no positive row.
    """
    tp, fp, tn, fn = counts
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(tp + fn > 0, 2 * tp / (2 * tp + fp + fn), np.nan)
        return np.stack([tp / (tp + fn), tn / (tn + fp), tp / (tp + fp), tn / (tn + fn), f1])
