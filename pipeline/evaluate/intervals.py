"""Confidence intervals that know that scans of one patient belong together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from pipeline.evaluate.predictions import Floats, Indices

LEVEL = 0.95
BLOCK = 16  # resamples that share a generator
Z = float(ndtri((1 + LEVEL) / 2))  # 1.96


@dataclass(frozen=True, slots=True)
class Interval:
    """Two limits, or the reason why there are none.

    Attributes:
        low, high: Limits, or None.
        reason: Why they are None; else empty.
        method: How they were found.
    """

    low: float | None
    high: float | None
    reason: str = ""
    method: str = "bca"


def resampled_weights(patients: int, resamples: int, seed: int, size: int) -> Iterator[Floats]:
    """Draw `patients` patients with replacement, `resamples` times, and say how often each was drawn.

    Every `BLOCK` resamples come from a generator of their own, so they do not depend on `size`.

    Yields:
        Weights, shape (patients, r), each column a resample; r is `size` up to the next multiple of `BLOCK`, or what
        is left.
    """
    blocks = range(0, resamples, BLOCK)
    together = -(-size // BLOCK)
    for first in range(0, len(blocks), together):
        drawn = [_drawn(patients, seed, start) for start in blocks[first : first + together]]
        yield np.ascontiguousarray(np.hstack(drawn)[:, : resamples - blocks[first]])


def _drawn(patients: int, seed: int, start: int) -> Floats:
    """How often each patient is drawn in each of `BLOCK` resamples, shape (patients, BLOCK)."""
    drawn = np.random.default_rng([seed, start]).integers(patients, size=(BLOCK, patients))
    places = drawn + patients * np.arange(BLOCK)[:, None]
    counts = np.bincount(places.ravel(), minlength=BLOCK * patients)
    return counts.reshape(BLOCK, patients).T.astype(np.float64)


def leave_out_weights(parts: Sequence[Indices], patients: int, size: int) -> Iterator[Floats]:
    """Weights that leave out one part of the patients each; shape (patients, at most `size`), as `parts` follow."""
    for start in range(0, len(parts), size):
        gone = parts[start : start + size]
        weights = np.ones((patients, len(gone)))
        for column, part in enumerate(gone):
            weights[part, column] = 0
        yield weights


def bca(value: float, replicates: Floats, jackknife: Floats) -> Interval:
    """Bias-corrected and accelerated bootstrap interval at 95 %.

    z0 = Phi^-1(share of replicates below the value, those equal to it count half);
    a = sum d^3 / (6 (sum d^2)^(3/2)), d = mean(jackknife) - jackknife;
    limits are the replicates' quantiles at Phi(z0 + (z0 + z) / (1 - a (z0 + z))) for z = -1.96 and 1.96.

    Args:
        value: The estimate.
        replicates: Its values on resamples, all finite.
        jackknife: Its values with one patient, or one of many parts of the patients, left out each, all finite.

    Source:
        Efron 1987, Better Bootstrap Confidence Intervals, eq. 2.3 and 6.6; ties as in scipy.stats.bootstrap.
    """
    share = ((replicates < value).mean() + (replicates <= value).mean()) / 2
    d = jackknife.mean() - jackknife
    spread = float((d**2).sum())
    if not 0 < share < 1 or spread == 0:
        return Interval(None, None, "the value lies outside nearly all of its resamples")
    z0, a = float(ndtri(share)), float((d**3).sum()) / (6 * spread**1.5)
    z = z0 + ndtri([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if (a * z >= 1).any():
        return Interval(None, None, "the estimate is too skewed for a bootstrap interval")
    low, high = np.quantile(replicates, ndtr(z0 + z / (1 - a * z)))
    return Interval(float(low), float(high))


def centred(value: float, replicates: Floats) -> Interval:
    """Percentile interval of replicates moved so that their mean is the value, cut at 0.

    For estimates such as the calibration error, whose resamples lie above it by construction.
    """
    moved = replicates - replicates.mean() + value
    low, high = np.quantile(moved, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(max(float(low), 0.0), float(high), method="centred percentile")


def without_errors(value: float, units: int) -> Interval:
    """Interval for a share of 1 (or 0) seen in `units` independent trials: from alpha^(1 / units) to 1.

    Where every trial agrees, resampling them cannot show any doubt. If the true share were p, all would agree with
    probability p^units, which is alpha = 2.5 % at the limit.

    Args:
        value: 0 or 1.
        units: Independent trials; for AUROC, disjoint pairs of a positive and a negative patient.

    Source:
        Clopper & Pearson 1934, at x = n.
    """
    slack = 1 - float(((1 - LEVEL) / 2) ** (1 / units))
    low, high = (1 - slack, 1.0) if value == 1 else (0.0, slack)
    return Interval(low, high, method="exact")
