"""Statistics of one class against all others, and their mean over the classes."""

from collections.abc import Sequence

import numpy as np

from pipeline.evaluate.estimates import Quantity, Statistic
from pipeline.evaluate.metrics import METRICS, count_cells, count_metrics, sum_by_patient
from pipeline.evaluate.predictions import Flags, Floats, Indices
from pipeline.evaluate.ranking import (
    FIXED,
    SENSITIVITY_AT,
    SPECIFICITY_AT,
    areas,
    fixed_points,
    rank_scores,
    ranking,
)

MEASURES = (*METRICS, *FIXED)


def one_versus_rest(
    name: tuple[str, ...],
    score: Floats,
    *,
    positive: Flags,
    patient: Indices,
    patients: int,
    threshold: float | None,
    decided: Flags | None = None,
) -> Statistic:
    """`METRICS` of one class, then `FIXED`, as functions of patient weights.

    Args:
        name: Where the class stands in metrics.json.
        score: Scores, shape (n,).
        positive: Which rows have the class, shape (n,).
        patient: Patient of each row, shape (n,), numbered from 0 over the whole table.
        patients: P, the number of patients of the whole table.
        threshold: A row is called positive where score >= threshold; None leaves the called metrics undefined.
        decided: Which rows are called positive, shape (n,), where the threshold does not say it exactly.
    """
    ranked = rank_scores(score, positive, patient)
    called = score >= (np.inf if threshold is None else threshold) if decided is None else decided
    undecided = threshold is None and decided is None
    cells = sum_by_patient(count_cells(positive, called), patient, patients)

    def compute(weights: Floats) -> Floats:
        counts = cells @ weights
        if undecided:
            counts = np.full_like(counts, np.nan)
        walk = ranking(ranked, weights)
        return np.vstack([areas(walk), count_metrics(counts), fixed_points(walk)])

    missing = _missing(positive, called, "no threshold for this class" if undecided else "")
    units = _units(positive, called, patient)
    quantities = tuple(Quantity((*name, m), missing[m], units.get(m, 0)) for m in MEASURES)
    return Statistic(quantities, np.unique(patient), compute)


def _missing(positive: Flags, called: Flags, needs_threshold: str) -> dict[str, str]:
    """Why each metric would have no value; `needs_threshold` where nothing says what is called."""
    no_positive = "" if positive.any() else "no positive rows"
    no_negative = "" if not positive.all() else "no negative rows"
    return {
        "auroc": no_positive or no_negative,
        "auprc": no_positive or no_negative,
        "sensitivity": needs_threshold or no_positive,
        "specificity": needs_threshold or no_negative,
        "ppv": needs_threshold or ("" if called.any() else "no row reaches the threshold"),
        "npv": needs_threshold or ("" if not called.all() else "every row reaches the threshold"),
        "f1": needs_threshold or no_positive,
    } | dict.fromkeys(FIXED, no_positive or no_negative)


def _units(positive: Flags, called: Flags, patient: Indices) -> dict[str, int]:
    """Independent patients behind each metric; for AUROC, disjoint pairs of a positive and a negative patient."""

    def patients(rows: Flags) -> int:
        return int(np.unique(patient[rows]).size)

    everyone = np.ones_like(positive)
    return {
        "auroc": min(patients(positive), patients(~positive), patients(everyone) // 2),
        "sensitivity": patients(positive),
        "specificity": patients(~positive),
        "ppv": patients(called),
        "npv": patients(~called),
    } | (dict.fromkeys(SENSITIVITY_AT, patients(positive)) | dict.fromkeys(SPECIFICITY_AT, patients(~positive)))


def with_macro(parts: Sequence[Statistic], patients: int) -> Statistic:
    """The classes' metrics, then the mean of each metric over the classes for which it is defined.

    Args:
        parts: Statistics from `one_versus_rest`, one per class.
        patients: P, the number of patients.
    """
    plain = np.ones((patients, 1))
    counted = np.stack([np.isfinite(part.compute(plain)[:, 0]) for part in parts])  # (classes, metrics)
    shares = counted / np.maximum(counted.sum(axis=0), 1)

    def compute(weights: Floats) -> Floats:
        values = np.stack([part.compute(weights) for part in parts])
        kept = np.where(counted[:, :, None], values, 0.0)  # a class that vanishes in a resample stays NaN
        macro = np.einsum("cm,cmr->mr", shares, kept)
        macro[~counted.any(axis=0)] = np.nan
        return np.vstack([*values, macro])

    quantities = [quantity for part in parts for quantity in part.quantities]
    for position, metric in enumerate(MEASURES):
        of_classes = [part.quantities[position] for part in parts]
        units = min((q.units for q, used in zip(of_classes, counted[:, position], strict=True) if used), default=0)
        missing = "no class has it: " + (of_classes[0].missing or "not defined")
        quantities.append(Quantity(("macro", metric), missing, units))
    everyone = np.unique(np.concatenate([part.patients for part in parts]))
    return Statistic(tuple(quantities), everyone, compute)
