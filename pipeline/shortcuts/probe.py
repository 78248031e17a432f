"""What features tell of a column of labels.csv, such as the site or the scanner, beside what they tell of labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import t as student
from torch import Tensor

from pipeline.errors import CohortError
from pipeline.evaluate.estimates import DECIMALS, null
from pipeline.evaluate.intervals import LEVEL, without_errors
from pipeline.evaluate.predictions import Flags
from pipeline.learn.cross_probe import Floats, Probe, cross_validate, logistic_probe, mean_and_error
from pipeline.learn.folds import grouped_folds

FOLDS, REPEATS = 5, 2
NAMELESS = ("(other)", "(empty)")
METHOD = "cross-validated by patient, corrected resampled t"


@dataclass(frozen=True, slots=True, eq=False)
class ProbedScans:
    """n scans.

    Attributes:
        features: One row a scan, (n, F), float32.
        widths: Number of features of each joined stage.
        targets: Indicators of the labels, (n, L).
        normal: Which scans have no finding, (n,).
        patients: Identity of each scan's patient.
        seed: Of the folds.
    """

    features: Tensor
    widths: tuple[int, ...]
    targets: Tensor
    normal: Flags
    patients: tuple[str, ...]
    seed: int

    def logistic(
        self,
        features_train: npt.NDArray[np.float32],
        targets_train: npt.NDArray[np.int64],
        features_test: npt.NDArray[np.float32],
    ) -> Floats:
        """The probe of these features."""
        return logistic_probe(features_train, targets_train, features_test, widths=self.widths)


def probe_labels(scans: ProbedScans) -> dict[str, Any]:
    """Macro AUROC of a cross-validated linear probe of the labels, with its 95 % interval."""
    return _measured(scans.features, scans.targets, scans.patients, scans.logistic, scans.seed)


def probe_column(scans: ProbedScans, values: Sequence[str]) -> dict[str, Any]:
    """What the features tell of a column, and what the column tells of the labels.

    Args:
        scans: The scans.
        values: The column, n texts; `(other)` and `(empty)` name no value and are left out.

    Returns:
        `values` (how many), `all` (macro AUROC of a probe of the column), `normals` (the same on scans without a
        finding alone, where another mix of diseases cannot give the column away) and `label` (macro AUROC of the labels
        where nothing but the column is known: the share of each label at the value among other patients).
    """
    named = np.array([value not in NAMELESS for value in values])
    names = sorted({value for value, has in zip(values, named, strict=True) if has})
    indicators = torch.tensor([[float(value == name) for name in names] for value in values]).reshape(len(values), -1)
    if len(names) < 2:
        reason = null("fewer than two values with two patients each")
        return {"values": len(names), "all": reason, "normals": reason, "label": reason}

    def of(rows: Flags, features: Tensor, targets: Tensor, probe: Probe) -> dict[str, Any]:
        at = np.flatnonzero(rows)
        return _measured(features[at], targets[at], [scans.patients[n] for n in at], probe, scans.seed)

    return {
        "values": len(names),
        "all": of(named, scans.features, indicators, scans.logistic),
        "normals": of(named & scans.normal, scans.features, indicators, scans.logistic),
        "label": of(named, indicators, scans.targets, share_probe),
    }


def share_probe(
    features_train: npt.NDArray[np.float32],
    targets_train: npt.NDArray[np.int64],
    features_test: npt.NDArray[np.float32],
) -> Floats:
    """Probability of each class where nothing but a group is known.

    p(c | g) = (n_cg + p_c) / (n_g + 1), with n_cg training rows of class c in group g, n_g of any class, and p_c the
    share of class c in all: a group without training rows has the shares of all.

    Args:
        features_train: One-hot groups, (n, G).
        targets_train: Class numbers 0..L-1, (n,).
        features_test: One-hot groups, (m, G).

    Returns:
        Probabilities (m, L).
    """
    classes = np.eye(int(targets_train.max()) + 1)[targets_train]
    counts = features_train.T.astype(np.float64) @ classes
    shares: Floats = (counts + classes.mean(axis=0)) / (counts.sum(axis=1, keepdims=True) + 1)
    return np.asarray(features_test.astype(np.float64) @ shares)


def _measured(features: Tensor, targets: Tensor, patients: Sequence[str], probe: Probe, seed: int) -> dict[str, Any]:
    """Macro AUROC over folds by patient: mean, and mean -+ t error with r - 1 degrees of freedom for r values.

    Where all folds agree on 1 or 0, the exact interval of as many trials as the rarest class has patients.
    """
    try:
        folds = grouped_folds(targets, patients, folds=FOLDS, repeats=REPEATS, seed=seed)
    except CohortError as problem:
        return null(str(problem))
    values = cross_validate(features, targets, folds, probe)
    value, error = mean_and_error(values, folds)
    if not math.isfinite(value):
        return null("no label divides both sides of a fold")
    if not math.isfinite(error):
        return {"value": round(value, DECIMALS), "low": None, "high": None, "reason": "no interval: one fold alone"}
    low, high, method = _limits(value, error, values, _fewest(targets, patients))
    return {
        "value": round(value, DECIMALS),
        "low": round(low, DECIMALS),
        "high": round(high, DECIMALS),
        "method": method,
    }


def _limits(value: float, error: float, values: Sequence[float], units: int) -> tuple[float, float, str]:
    if error < 1e-12 and (value > 1 - 1e-12 or value < 1e-12):
        exact = without_errors(round(value), units)
        return exact.low or 0.0, exact.high or 0.0, exact.method
    known = sum(math.isfinite(one) for one in values)
    half = float(student.ppf((1 + LEVEL) / 2, known - 1)) * error
    return max(0.0, value - half), min(1.0, value + half), METHOD


def _fewest(targets: Tensor, patients: Sequence[str]) -> int:
    """Patients of the rarest class that has any."""
    names = np.asarray(patients)
    has = [np.unique(names[targets[:, c].numpy() > 0]).size for c in range(targets.shape[1])]
    return min(count for count in has if count)
