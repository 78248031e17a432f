"""A linear probe on the reference's features, cross-fitted by patient, for comparisons without a trained classifier."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from pipeline.shift.encoder import Floats

FOLDS = 5
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # scikit-learn's C, the inverse of the penalty
Indices = npt.NDArray[np.intp]


def probe_logits(
    features: Floats,
    truth: npt.NDArray[np.int8],
    patients: Sequence[str],
    other: Floats,
    other_patients: Sequence[str],
    *,
    seed: int,
) -> tuple[Floats, Floats] | None:
    """Logits of both sides by 5 logistic regressions, each fitted on the reference's patients outside one fold.

    A reference scan gets its logits from the probe that has not seen its patient. Each incoming patient is given to
    one fold too, to that of the reference where the patient is on both sides, so that scans of one domain have
    logits of one distribution on either side: were incoming scans given the mean of 5 probes, or a probe fitted on
    all, the logits would differ where the scans do not. The penalty is the one with the best log-likelihood on the
    held-out folds of the reference.

    Args:
        features: Of the reference, shape (n, F).
        truth: Indicators, shape (n, L).
        patients: n names.
        other: Features of the incoming scans, shape (m, F).
        other_patients: m names.
        seed: Of the folds.

    Returns:
        Logits (n, L) and (m, L); None where some class has patients in fewer than two folds, or L < 2.
    """
    label = truth.argmax(axis=1)
    fold, other_fold = _folds(label, patients, other_patients, seed)
    classes = truth.shape[1]
    if classes < 2 or any(len(np.unique(label[fold != k])) < classes for k in range(FOLDS)):
        return None
    best: tuple[float, Floats, Floats] | None = None
    for strength in STRENGTHS:
        here = np.zeros(truth.shape, np.float32)
        there = np.zeros((len(other), classes), np.float32)
        for k in range(FOLDS):
            model = LogisticRegression(C=strength, max_iter=500).fit(features[fold != k], label[fold != k])
            here[fold == k] = _logits(model, features[fold == k])
            there[other_fold == k] = _logits(model, other[other_fold == k])
        score = float(log_softmax(here.astype(np.float64), axis=1)[np.arange(len(label)), label].mean())
        if best is None or score > best[0]:
            best = (score, here, there)
    return None if best is None else best[1:]


def _logits(model: LogisticRegression, features: Floats) -> Floats:
    """Decision values as one column per class; two classes have one value d, which becomes (0, d)."""
    if not len(features):
        return np.zeros((0, len(model.classes_)), np.float32)
    found = np.asarray(model.decision_function(features), np.float32)
    return np.stack([np.zeros_like(found), found], axis=1) if found.ndim == 1 else found


def _folds(label: Indices, patients: Sequence[str], others: Sequence[str], seed: int) -> tuple[Indices, Indices]:
    """Fold 0..4 of each scan of both sides, the same for all scans of a patient; classes are dealt out evenly."""
    rng = np.random.default_rng(seed)
    first = {patient: int(c) for patient, c in zip(reversed(patients), reversed(label.tolist()), strict=True)}
    names = list(dict.fromkeys(patients))
    shuffled = [names[n] for n in rng.permutation(len(names))]
    of = {name: n % FOLDS for n, name in enumerate(sorted(shuffled, key=lambda name: first[name]))}
    new = [name for name in dict.fromkeys(others) if name not in of]
    of |= {new[n]: place % FOLDS for place, n in enumerate(rng.permutation(len(new)))}
    return np.array([of[p] for p in patients], np.intp), np.array([of[p] for p in others], np.intp)
