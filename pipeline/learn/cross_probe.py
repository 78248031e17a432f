"""Cross-validated probes on features: what they could do for patients they were not fitted on."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from models.classifier import FeatureNorm
from pipeline.learn.fit import macro_auroc
from pipeline.learn.folds import Fold

Floats = npt.NDArray[np.float64]
Probe = Callable[[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.float32]], npt.NDArray[np.floating]]
STRENGTH = 0.01
MOST_STEPS = 300


def logistic_probe(
    features_train: npt.NDArray[np.float32],
    targets_train: npt.NDArray[np.int64],
    features_test: npt.NDArray[np.float32],
    *,
    widths: Sequence[int] = (),
) -> Floats:
    """Logistic regression on standardised features, every class counting alike.

    Minimises 1/2 ||W||^2 + C sum_i w_{y_i} (-log softmax(W z_i + b)_{y_i}), w_c = n / (L n_c), C = 0.01, with z
    standardised as in the classifier (`FeatureNorm`); of two classes, one w for their difference. With n rows that is
    the linear probe's penalty lambda = 1 / (C n), fixed, so that no validation rows are needed and all backbones are
    treated alike.

    Args:
        features_train: Shape (n, F).
        targets_train: Class numbers 0..L-1, shape (n,), every class at least once.
        features_test: Shape (m, F).
        widths: Number of features of each joined stage, as in `Backbone.widths`; empty where all are of one.

    Returns:
        Probabilities (m, L).

    Source:
        Alain & Bengio 2016, Understanding intermediate layers using linear classifier probes.
    """
    norm = FeatureNorm(widths or (features_train.shape[1],))
    norm.fit(torch.from_numpy(features_train))
    train, test = (norm(torch.from_numpy(rows)).numpy() for rows in (features_train, features_test))
    model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=MOST_STEPS).fit(train, targets_train)
    probability: Floats = model.predict_proba(test)
    return probability


def cross_validate(features: Tensor, targets: Tensor, folds: Sequence[Fold], probe: Probe) -> tuple[float, ...]:
    """Macro AUROC of a probe on each fold.

    Args:
        features: One row a scan, (n, F), float32.
        targets: Indicators (n, L). Rows with exactly one label each get one probe, others one per label.
        folds: Of `grouped_folds`; the same for all that is to be compared.
        probe: See `logistic_probe`.

    Returns:
        One value a fold; NaN where no label divides both the fold's training and its test rows.
    """
    rows = features.numpy()
    single = bool((targets.sum(dim=1) == 1).all())
    fit = _scores_of_classes if single else _scores_of_labels
    return tuple(_one_fold(fit(rows, targets, fold, probe), targets[fold.test]) for fold in folds)


def _one_fold(scores: Tensor, targets: Tensor) -> float:
    """Macro AUROC over the labels that have scores and divide the rows."""
    usable = [
        c
        for c in range(targets.shape[1])
        if bool(scores[:, c].isfinite().all()) and 0 < targets[:, c].sum() < len(targets)
    ]
    return macro_auroc(scores[:, usable], targets[:, usable]) if usable else math.nan


def _scores_of_classes(rows: npt.NDArray[np.float32], targets: Tensor, fold: Fold, probe: Probe) -> Tensor:
    """Scores (m, L) of one probe over the classes; NaN for a class without training rows."""
    scores = torch.full((len(fold.test), targets.shape[1]), math.nan, dtype=torch.float64)
    present, numbers = np.unique(targets.argmax(dim=1).numpy()[fold.train], return_inverse=True)
    if len(present) > 1:
        found = probe(rows[fold.train], numbers.astype(np.int64), rows[fold.test])
        scores[:, present] = torch.from_numpy(np.asarray(found, np.float64))
    return scores


def _scores_of_labels(rows: npt.NDArray[np.float32], targets: Tensor, fold: Fold, probe: Probe) -> Tensor:
    """Scores (m, L) of one probe per label, having it or not; NaN where it does not divide the training rows."""
    scores = torch.full((len(fold.test), targets.shape[1]), math.nan, dtype=torch.float64)
    for c in range(targets.shape[1]):
        has = targets[fold.train, c].numpy().astype(np.int64)
        if 0 < has.sum() < len(has):
            found = probe(rows[fold.train], has, rows[fold.test])
            scores[:, c] = torch.from_numpy(np.asarray(found, np.float64)[:, 1])
    return scores


def mean_and_error(values: Sequence[float], folds: Sequence[Fold]) -> tuple[float, float]:
    """Mean over folds and repeats, and its standard error, folds that could not be measured left out.

    error^2 = (1 / r + n_test / n_train) s^2, with r values, s^2 their sample variance and the mean sizes of the two
    sides. The second term stands for what the folds share: training sides overlap and repeats use the same rows, so
    that s^2 / r alone would shrink with every repeat without anything new being known.

    Returns:
        NaN for what cannot be had: both without a value, the error with one alone.

    Source:
        Nadeau & Bengio 2003, Inference for the Generalization Error (corrected resampled t-test); for repeated
        cross-validation, Bouckaert & Frank 2004.
    """
    kept = [(value, fold) for value, fold in zip(values, folds, strict=True) if math.isfinite(value)]
    found = np.array([value for value, _ in kept])
    if not len(found):
        return math.nan, math.nan
    if len(found) == 1:
        return float(found[0]), math.nan
    shared = sum(len(fold.test) for _, fold in kept) / sum(len(fold.train) for _, fold in kept)
    return float(found.mean()), math.sqrt((1 / len(found) + shared) * float(found.var(ddof=1)))
