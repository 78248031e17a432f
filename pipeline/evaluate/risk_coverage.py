"""What it would be worth to leave the least sure scans to a person: error against the share that is kept."""

from dataclasses import dataclass

import numpy as np

from pipeline.evaluate.estimates import Quantity, Statistic
from pipeline.evaluate.predictions import Flags, Floats, Indices, PredictionTable

POINTS = 101
DEFINITION = {
    "multiclass": "sureness: probability of the most probable class; error: it is not the label",
    "multilabel": "sureness: distance of the probability of no finding from 0.5; error: it is on the wrong side",
}
NO_PROBABILITY = "the one-class score is a rank among normals, not a probability"


@dataclass(frozen=True, slots=True, eq=False)
class RankedErrors:
    """Scans from the surest to the least sure.

    Attributes:
        wrong: Whether each is an error, shape (n,).
        patient: Whose it is, shape (n,).
        last_tied: Index of the last scan that is as sure, shape (n,).
    """

    wrong: Flags
    patient: Indices
    last_tied: Indices


def sureness(table: PredictionTable) -> tuple[Floats, Flags]:
    """How sure each call is, shape (n,), and whether it is wrong, shape (n,), as `DEFINITION` says."""
    if table.task == "multilabel":
        normal = table.probability[:, 0]
        return np.abs(normal - 0.5), np.asarray((normal >= 0.5) == table.abnormal)
    top = table.probability.argmax(axis=1)
    return table.probability.max(axis=1), np.asarray(table.truth[np.arange(table.n), top] == 0)


def rank_errors(sure: Floats, wrong: Flags, patient: Indices) -> RankedErrors:
    """Sort once what every weighting walks through; all arguments have shape (n,)."""
    order = np.argsort(-sure, kind="stable")
    falling = -sure[order]
    return RankedErrors(wrong[order], patient[order], np.searchsorted(falling, falling, side="right") - 1)


def selective_risk(ranked: RankedErrors, weights: Floats) -> tuple[Floats, Floats]:
    """Coverage and risk where all scans are kept that are at least as sure as each.

    With w_j the weight and e_j the error (0 or 1) of scan j, and K_i the scans that are at least as sure as scan i:
    coverage_i = sum_{j in K_i} w_j / sum_j w_j, risk_i = sum_{j in K_i} w_j e_j / sum_{j in K_i} w_j.

    Args:
        ranked: From `rank_errors`.
        weights: Patient weights, shape (P, r).

    Returns:
        Both of shape (n, r); a risk is NaN where nothing is kept.

    Source:
        Geifman & El-Yaniv 2017, Selective Classification for Deep Neural Networks, section 2.
    """
    kept = weights[ranked.patient]
    total = np.cumsum(kept, axis=0)
    errors = np.cumsum(kept * ranked.wrong[:, None], axis=0)
    total, errors, whole = total[ranked.last_tied], errors[ranked.last_tied], total[-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / whole, errors / total


def aurc(ranked: RankedErrors, weights: Floats) -> Floats:
    """Area under the risk-coverage curve: sum_i w_i risk_i / sum_i w_i, shape (r,); tied scans share one risk.

    Source:
        Geifman, Uziel & El-Yaniv 2019, Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers, section 3.
    """
    kept = weights[ranked.patient]
    _, risk = selective_risk(ranked, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nansum(kept * risk, axis=0) / kept.sum(axis=0))


def risk_statistic(ranked: RankedErrors) -> Statistic:
    """AURC, and the error where every scan is kept."""

    def compute(weights: Floats) -> Floats:
        kept = weights[ranked.patient]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack([aurc(ranked, weights), (kept * ranked.wrong[:, None]).sum(axis=0) / kept.sum(axis=0)])

    people = np.unique(ranked.patient)
    return Statistic((Quantity(("aurc",)), Quantity(("error",), units=people.size)), people, compute)


def risk_curve(ranked: RankedErrors) -> list[dict[str, float]]:
    """At most 101 points `coverage`, `risk` of the curve, rising in coverage."""
    coverage, risk = (one[:, 0] for one in selective_risk(ranked, np.ones((int(ranked.patient.max()) + 1, 1))))
    places = np.unique(ranked.last_tied)
    chosen = places[np.unique(np.linspace(0, places.size - 1, POINTS).round().astype(int))]
    return [{"coverage": round(float(coverage[n]), 6), "risk": round(float(risk[n]), 6)} for n in chosen]
