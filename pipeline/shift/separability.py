"""How well a classifier tells the two sides apart: the classifier two-sample test and the proxy A-distance."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from pipeline.errors import ShiftError
from pipeline.evaluate.intervals import without_errors
from pipeline.evaluate.predictions import Flags, Floats, Indices
from pipeline.shift.domain import Domain, patient_codes
from pipeline.shift.number import Number, rounded
from pipeline.shift.placements import Placements, clustered_auroc

FOLDS = 5
PENALTY = 0.01
Z = 1.959964


@dataclass(frozen=True, slots=True)
class Separability:
    """How far apart the two sides are for a linear classifier.

    Attributes:
        auroc: Chance that a scan of the incoming side gets the higher score of two, 0.5 where the sides are alike.
        proxy_a_distance: 2 (1 - 2 e), from 0 (alike) to 2 (told apart without error).
    """

    auroc: Number
    proxy_a_distance: Number


def separability(reference: Domain, incoming: Domain, *, seed: int, intervals: bool = True) -> Separability:
    """Cross-validated logistic regression of the side on the features; no patient is in two folds.

    e is the mean of the two sides' error rates, not the plain error rate: with 1,000 scans against 50, calling
    everything reference errs in 5 % of the scans and would look like a large distance.

    Classifiers of five folds share most of their training scans, so that held-out scores vary together; variances are
    multiplied by 1 + k / (k - 1), k the number of folds (Nadeau & Bengio's correction). Without it the intervals of
    two alike sides miss 0.5 in one case of six.

    Args:
        reference, incoming: Two sides, of at least two patients each.
        seed: Seed of the folds.
        intervals: Whether 95 % intervals are wanted.

    Raises:
        ShiftError: A side with fewer than two patients.

    Source:
        Lopez-Paz & Oquab 2017, Revisiting Classifier Two-Sample Tests; Ben-David et al. 2007, Analysis of
        Representations for Domain Adaptation, section 4 (proxy A-distance); Nadeau & Bengio 2003, Inference for the
        Generalization Error, eq. 8.
    """
    if min(reference.n_patients, incoming.n_patients) < 2:
        raise ShiftError("separability: a side has fewer than two patients")
    features = np.concatenate([reference.features, incoming.features])
    spread = features.std(axis=0)
    standard = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    side = np.arange(len(features)) >= reference.n
    units = patient_codes(reference.patients + incoming.patients)
    folds = patient_folds(units, side, seed=seed)
    score = _held_out_scores(standard, side, folds)
    count = int(folds.max()) + 1
    correction = (1 + count / (count - 1)) ** 0.5 if intervals else 0.0
    return Separability(
        _auroc(clustered_auroc(score, side, units, folds), correction), _distance(score, side, units, correction)
    )


def patient_folds(units: Indices, side: Flags, *, seed: int, folds: int = FOLDS) -> Indices:
    """A fold 0..folds-1 for each scan: patients are dealt out in random order, those of each side evenly.

    Args:
        units: The patient of each scan as 0..P-1, shape (n,).
        side: Which scans are incoming, shape (n,); a patient may have scans on both sides.
        seed: Seed of the order.
        folds: How many; no more than there are patients on the smaller side.
    """
    incoming, total = np.bincount(units, weights=side), np.bincount(units)
    kind = np.where(incoming == 0, 0, np.where(incoming == total, 1, 2))
    count = min(folds, np.unique(units[side]).size, np.unique(units[~side]).size)
    dealt = np.lexsort((np.random.default_rng(seed).permutation(kind.size), kind))
    fold = np.empty(kind.size, dtype=np.intp)
    for which in range(3):
        members = dealt[kind[dealt] == which]
        fold[members] = np.arange(members.size) % count
    return fold[units]


def _held_out_scores(standard: Floats, side: Flags, folds: Indices) -> Floats:
    """Log-odds of the incoming side for each scan, from the classifier that did not see its patient."""
    score = np.zeros(len(side))
    for fold in np.unique(folds):
        held_out = folds == fold
        probe = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=1000)
        probe.fit(standard[~held_out], side[~held_out])
        score[held_out] = probe.decision_function(standard[held_out])
    return score


def _auroc(found: Placements, correction: float) -> Number:
    if not correction:
        return Number(rounded(found.auroc))
    if found.auroc in (0.0, 1.0):
        exact = without_errors(found.auroc, found.pairs)
        return Number(found.auroc, rounded(exact.low or 0.0), rounded(exact.high or 0.0))
    half = Z * correction * found.variance**0.5
    return Number(rounded(found.auroc), rounded(max(0.0, found.auroc - half)), rounded(min(1.0, found.auroc + half)))


def _distance(score: Floats, side: Flags, units: Indices, correction: float) -> Number:
    """2 (1 - 2 e), cut at 0; its interval treats the patients of a side as the independent units."""
    rates, variance, patients = [], 0.0, []
    for rows in (side, ~side):
        wrong = (score > 0)[rows] != side[rows]
        rates.append(float(wrong.mean()))
        residual = np.bincount(units[rows], weights=wrong - rates[-1])
        size = np.unique(units[rows]).size
        patients.append(size)
        variance += size / (size - 1) * float((residual**2).sum()) / rows.sum() ** 2 / 4
    error = sum(rates) / 2
    value = rounded(max(0.0, 2 * (1 - 2 * error)))
    if not correction:
        return Number(value)
    half = Z * correction * variance**0.5
    low, high = error - half, error + half
    if error in (0.0, 1.0):
        exact = without_errors(error, min(patients))
        low, high = exact.low or 0.0, exact.high or 0.0
    return Number(value, rounded(max(0.0, 2 * (1 - 2 * high))), rounded(min(2.0, max(0.0, 2 * (1 - 2 * low)))))
