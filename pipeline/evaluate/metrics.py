"""What one class's calls are worth, one versus rest, under any weighting of the patients.

Every number is a function of patient weights, so the plain value (all ones), a bootstrap resample (how often each
patient was drawn) and a leave-one-out value (one zero) come from the same code. Weights have shape (P, r): P
patients by r weightings, so that one product serves all r at once.
"""

import numpy as np
from scipy import sparse

from pipeline.evaluate.predictions import Flags, Floats, Indices

METRICS = ("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "f1")


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
    rows = np.arange(patient.size)
    owner = sparse.csr_array((np.ones(patient.size), (patient, rows)), shape=(patients, patient.size))
    return sparse.csr_array((owner @ columns).T)


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
