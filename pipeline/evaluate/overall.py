"""Statistics of all classes together: accuracy, calibration, and what pretraining was worth."""

import numpy as np

from pipeline.evaluate.estimates import Quantity, Statistic
from pipeline.evaluate.metrics import sum_by_patient
from pipeline.evaluate.predictions import Flags, Floats, Indices, PredictionTable
from pipeline.evaluate.ranking import rank_scores, ranking_areas
from pipeline.evaluate.reliability import BINS, brier_by_row, claims, gaps_by_row

CALIBRATION = (("ece", "before"), ("ece", "after"), ("brier", "before"), ("brier", "after"))
ACCURACY = {
    "multiclass": "share of scans whose most probable class is the label",
    "multilabel": "share of scans for which every finding is called right: probability >= threshold if and only "
    "if the label has it",
    "one_class": "share of scans that are called abnormal if and only if the label is not normal",
}
NOT_A_PROBABILITY = "the one-class score is a rank among normals, not a probability"
NO_THRESHOLD = "a class has no threshold"


def right_rows(table: PredictionTable, thresholds: dict[str, float], anomaly_threshold: float) -> Flags | None:
    """Which rows count as accurate, as `ACCURACY` defines it; None where a threshold is missing. Shape (n,)."""
    if table.task == "multiclass":
        top = table.probability.argmax(axis=1)
        return np.asarray(np.take_along_axis(table.truth, top[:, None], axis=1)[:, 0] == 1)
    if table.task == "one_class":
        return np.asarray(table.decided(anomaly_threshold) == table.abnormal)
    findings = table.classes[1:]
    if not all(name in thresholds for name in findings):
        return None
    called = table.probability[:, 1:] >= np.array([thresholds[name] for name in findings])
    return np.asarray((called == (table.truth[:, 1:] == 1)).all(axis=1))


def accuracy_and_calibration(table: PredictionTable, right: Flags | None, rows: Indices) -> Statistic:
    """Accuracy, then calibration error and Brier score before and after calibration, over some rows.

    All are sums over rows divided by their number, so each patient's sums are taken once.

    Args:
        table: The predictions.
        right: From `right_rows`.
        rows: Which rows of the table to measure.
    """
    patient = table.patient_index
    stages = (table.uncalibrated, table.probability)
    columns = np.hstack(
        [
            np.ones((table.n, 1)),
            (np.full(table.n, np.nan) if right is None else right.astype(np.float64))[:, None],
            *[brier_by_row(table, p)[:, None] for p in stages],
            *[gaps_by_row(claims(table, p)) for p in stages],
        ]
    )
    sums = sum_by_patient(columns[rows], patient[rows], int(patient.max()) + 1)
    rank_only = table.task == "one_class"

    def compute(weights: Floats) -> Floats:
        n, accurate, brier_before, brier_after, *gaps = sums @ weights
        with np.errstate(invalid="ignore", divide="ignore"):
            ece = [np.abs(np.stack(g)).sum(axis=0) / n for g in (gaps[:BINS], gaps[BINS:])]
            values = np.stack([accurate / n, *ece, brier_before / n, brier_after / n])
        if rank_only:
            values[1:] = np.nan
        return values

    units = int(np.unique(patient[rows]).size)
    quantities = [Quantity(("accuracy",), NO_THRESHOLD, units)]
    quantities += [
        Quantity(("calibration", measure, stage), NOT_A_PROBABILITY, biased=measure == "ece")
        for measure, stage in CALIBRATION
    ]
    return Statistic(tuple(quantities), np.unique(patient[rows]), compute)


def worth_of_pretraining(table: PredictionTable, random_probability: Floats) -> Statistic:
    """Macro AUROC of the model and of the same head on random weights, and their difference on the same patients.

    Args:
        table: The predictions.
        random_probability: Those of the head on randomly initialised weights, shape (n, L).
    """
    patient = table.patient_index
    positive = table.truth == 1
    both = [c for c in table.measured if 0 < positive[:, c].sum() < table.n]
    pairs = [
        [rank_scores(p[:, c], positive[:, c], patient) for c in both] for p in (table.probability, random_probability)
    ]

    def compute(weights: Floats) -> Floats:
        if not both:
            return np.full((3, weights.shape[1]), np.nan)
        model, random = (
            np.mean([ranking_areas(ranked, weights)[0] for ranked in classes], axis=0) for classes in pairs
        )
        return np.stack([model, random, model - random])

    missing = "no class has both positive and negative rows"
    quantities = tuple(Quantity(("pretraining", name), missing) for name in ("model", "random", "difference"))
    return Statistic(quantities, np.unique(patient), compute)
