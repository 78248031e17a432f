"""Whether probabilities mean what they say: calibration error, Brier score and the reliability curve."""

from dataclasses import dataclass

import numpy as np

from pipeline.evaluate.predictions import Floats, Indices, PredictionTable

BINS = 15


@dataclass(frozen=True, slots=True, eq=False)
class Claims:
    """Statements with a confidence that turned out right or wrong.

    Attributes:
        confidence: Shape (n, K), 0..1. K = 1 in `multiclass`: the highest probability; else one per class.
        right: Shape (n, K), 0 or 1: the class was so.
    """

    confidence: Floats
    right: Floats

    @property
    def bins(self) -> Indices:
        """Bin of each claim: 15 of equal width, each open at its lower and closed at its upper edge."""
        return np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], self.confidence, side="left")


def claims(table: PredictionTable, probability: Floats) -> Claims:
    """The claims that a table of probabilities, shape (n, L), makes."""
    if table.task != "multiclass":
        return Claims(probability, table.truth.astype(np.float64))
    top = probability.argmax(axis=1)[:, None]
    return Claims(
        np.take_along_axis(probability, top, axis=1),
        np.take_along_axis(table.truth, top, axis=1).astype(np.float64),
    )


def gaps_by_row(stated: Claims) -> Floats:
    """What each row adds to each bin's gap, right - confidence, as a mean over its claims; shape (n, 15).

    ECE = sum_bins |sum_rows gap| / n, which is sum_bins (claims in bin / claims) |accuracy - mean confidence|.

    Source:
        Guo et al. 2017, On Calibration of Modern Neural Networks, eq. 3.
    """
    n, k = stated.confidence.shape
    gaps = np.zeros((n, BINS))
    np.add.at(gaps, (np.arange(n)[:, None], stated.bins), (stated.right - stated.confidence) / k)
    return gaps


def brier_by_row(table: PredictionTable, probability: Floats) -> Floats:
    """Squared distance of each row to its label: sum_k (p_k - y_k)^2, in `multilabel` the mean over k; shape (n,).

    Source:
        Brier 1950, Verification of Forecasts Expressed in Terms of Probability.
    """
    squares: Floats = (probability - table.truth) ** 2
    row: Floats = squares.mean(axis=1) if table.task == "multilabel" else squares.sum(axis=1)
    return row


def reliability_curve(stated: Claims) -> list[dict[str, float]]:
    """Mean confidence, share that was right and number of claims, for each bin that holds any."""
    bins = stated.bins
    curve = []
    for b in range(BINS):
        inside = bins == b
        if inside.any():
            point = {
                "confidence": round(float(stated.confidence[inside].mean()), 6),
                "accuracy": round(float(stated.right[inside].mean()), 6),
                "n": int(inside.sum()),
            }
            curve.append(point)
    return curve
