"""How the error of a linear head falls with the number of labels, on the scans that have some."""

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pipeline.evaluate.predictions import Flags, Floats, Indices
from pipeline.shift.separability import FOLDS, patient_folds

PENALTY = 0.01
POINTS = 6
SMALLEST = 20
FEWEST_PATIENTS = 10


def learning_curve(
    features: npt.NDArray[np.floating], truth: npt.NDArray[np.number], units: Indices, *, seed: int
) -> tuple[list[int], list[float]]:
    """Cross-validated 1 - AUROC (mean over classes, one against the rest) at growing numbers of labels.

    Of each training part the first patients of a random order are taken until the number is reached, so that the
    subsets grow into each other; a subset that lacks a class is left out.

    Args:
        features: (n, F).
        truth: Indicators, shape (n, L), one 1 in each row.
        units: The patient of each scan as 0..P-1, shape (n,).
        seed: Seed of folds and orders.

    Returns:
        Sizes, ascending, and errors; both empty where a class has fewer than 10 patients.
    """
    classes = truth.argmax(axis=1)
    patients = [np.unique(units[classes == label]).size for label in range(truth.shape[1])]
    largest = int(len(truth) * (1 - 1 / FOLDS))
    if min(patients) < FEWEST_PATIENTS or largest < 2 * SMALLEST:
        return [], []
    spread = features.std(axis=0)
    standard = ((features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)).astype(np.float64)
    folds = patient_folds(units, classes == int(np.argmin(np.bincount(classes))), seed=seed)
    sizes, errors = [], []
    for size in np.unique(np.geomspace(SMALLEST, largest, POINTS).astype(int)):
        found = [_error(standard, classes, units, folds == fold, int(size), seed) for fold in np.unique(folds)]
        known = [error for error in found if error is not None]
        if len(known) == len(found):
            sizes.append(int(size))
            errors.append(float(np.mean(known)))
    return sizes, errors


def _error(standard: Floats, classes: Indices, units: Indices, held_out: Flags, size: int, seed: int) -> float | None:
    """1 - AUROC on the held-out scans after learning from about `size` others; None where a class is missing."""
    place = np.random.default_rng(seed).permutation(int(units.max()) + 1)[units]
    others = np.flatnonzero(~held_out)
    chosen = others[np.argsort(place[others], kind="stable")][:size]
    labels = np.unique(classes)
    if not all(np.isin(labels, classes[rows]).all() for rows in (chosen, held_out)):
        return None
    probe = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=1000).fit(standard[chosen], classes[chosen])
    score = np.atleast_2d(probe.decision_function(standard[held_out]).T).T
    if labels.size == 2:
        return float(1 - roc_auc_score(classes[held_out] == labels[1], score[:, 0]))
    areas = [roc_auc_score(classes[held_out] == label, score[:, column]) for column, label in enumerate(labels)]
    return float(1 - np.mean(areas))
