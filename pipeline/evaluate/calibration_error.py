"""Calibration error in bins of equal mass, and of each class one versus rest."""

import numpy as np
import numpy.typing as npt

from pipeline.evaluate.estimates import Quantity, Statistic
from pipeline.evaluate.patient_sums import patient_sums, statistic_of_sums
from pipeline.evaluate.predictions import Floats, Indices, PredictionTable
from pipeline.evaluate.reliability import BINS, Claims, claims

ERRORS = ("ece_equal_mass", "ece_classwise")
STAGES = ("before", "after")


def equal_mass_bins(confidence: Floats) -> Indices:
    """Bin of each claim: 15 that hold as many claims each as ties allow, each closed at its upper edge.

    Edges are the quantiles 1/15 ... 14/15 of all claims; claims of the same confidence share a bin.

    Args:
        confidence: Of any shape.

    Source:
        Nguyen & O'Connor 2015, Posterior Calibration and Exploratory Analysis for NLP Models (adaptive binning).
    """
    edges = np.quantile(confidence, np.linspace(0, 1, BINS + 1)[1:-1])
    return np.searchsorted(edges, confidence, side="left")


def calibration_errors(table: PredictionTable) -> Statistic:
    """Calibration errors beyond the one in bins of equal width over all claims.

    ECE = sum_bins |sum_claims (right - confidence)| / claims. `ece_equal_mass`: over the same claims as `ece`, in bins
    of equal mass, whose edges are those of the whole table in every resample. `classes.<name>.ece`: of one class's
    calibrated probability against whether the scan has it, in 15 bins of equal width. `ece_classwise`: its mean over
    the classes.

    Args:
        table: Of a task whose scores are probabilities.

    Source:
        Nixon et al. 2019, Measuring Calibration in Deep Learning (static and adaptive calibration error).
    """
    patient, measured = table.patient_index, list(table.measured)
    parts = [_ones(patient)]
    for probability in (table.uncalibrated, table.probability):
        stated = claims(table, probability)
        parts.append(_gaps(stated, equal_mass_bins(stated.confidence), patient))
        each = Claims(probability[:, measured], table.truth[:, measured].astype(np.float64))
        parts.append(_gaps(each, each.bins + BINS * np.arange(len(measured)), patient, share=1.0))
    sizes = [1, *(BINS, BINS * len(measured)) * 2]
    starts = np.cumsum([0, *sizes])
    entries = [np.concatenate(column) for column in zip(*parts, strict=True)]
    places = entries[0] + np.repeat(starts[:-1], [place.size for place, _, _ in parts])
    sums = patient_sums(places, entries[1], entries[2], shape=(int(starts[-1]), int(patient.max()) + 1))

    def values(found: Floats) -> Floats:
        n, *gaps = np.split(found, starts[1:-1])
        with np.errstate(invalid="ignore", divide="ignore"):
            mass = [np.abs(g).sum(axis=0) / n[0] for g in gaps[::2]]
            each = [np.abs(g).reshape(len(measured), BINS, -1).sum(axis=1) / n for g in gaps[1::2]]
        return np.vstack([*mass, *(e.mean(axis=0) for e in each), each[1]])

    names: list[tuple[str, ...]] = [(error, stage) for error in ERRORS for stage in STAGES]
    names += [("classes", table.classes[c], "ece") for c in measured]
    quantities = tuple(Quantity(("calibration", *name), biased=True) for name in names)
    return statistic_of_sums(quantities, sums, np.unique(patient), values)


Entries = tuple[Indices, Floats, Indices]


def _ones(patient: Indices) -> Entries:
    return np.zeros_like(patient), np.ones(patient.size), patient


def _gaps(stated: Claims, bins: npt.NDArray[np.intp], patient: Indices, share: float = 0.0) -> Entries:
    """Bin, right - confidence and patient of every claim; a row's claims weigh 1 together unless told."""
    k = stated.confidence.shape[1]
    gaps = (stated.right - stated.confidence) * (share or 1 / k)
    return bins.ravel(), gaps.ravel(), np.repeat(patient, k)
