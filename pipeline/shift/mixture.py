"""Do the incoming outputs look like a mixture of the reference's classes? Estimates of shares stand on that."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import kstwo

from pipeline.errors import ShiftError
from pipeline.evaluate.predictions import Floats, Indices
from pipeline.shift.domain import one_scan_each
from pipeline.shift.prevalence import mlls, reweighted

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class MixtureFit:
    """How far the incoming outputs are from the best mixture of the reference's classes.

    Attributes:
        gap: Largest gap of distribution functions over the outputs, 0..1.
        p_value: Smallest p of the outputs times their number, at most 1.
        fits: Whether that is 0.05 or more. Where it is not, the look of the classes has changed and estimated
            shares mean little.
    """

    gap: float
    p_value: float
    fits: bool


def mixture_fit(
    source: Floats, truth: Floats, target: Floats, *, units: tuple[Indices, Indices], seed: int
) -> MixtureFit:
    """Kolmogorov-Smirnov gap between the target's outputs and the source's weighted by w = q_c / s_c.

    One scan of each patient counts, and shares s and q are those of the scans that count: patients with a finding
    often have more scans. p is kstwo.sf(gap, N), N = round(n' m / (n' + m)), n' = (sum w)^2 / sum w^2.
    The shares were fitted to the target, so that a gap is rather overlooked than invented.

    Args:
        source, target: Calibrated probabilities, shape (n, L) and (m, L).
        truth: Indicators of the source, shape (n, L), one 1 in each row.
        units: The patient of each scan, of both sides.
        seed: Which scan of a patient counts.
    """
    here, there = one_scan_each(units[0], seed), one_scan_each(units[1], seed + 1)
    prior = truth[here].mean(axis=0)
    if (prior == 0).any():
        raise ShiftError("label shift: a class has no source patient left; bring more of its patients")
    weight = truth[here] @ (mlls(reweighted(target[there], truth.mean(axis=0), prior), prior).share / prior)
    effective = weight.sum() ** 2 / (weight**2).sum()
    size = max(1, round(effective * len(there) / (effective + len(there))))
    columns = [0] if source.shape[1] == 2 else range(source.shape[1])
    gaps = [weighted_gap(source[here, c], weight, target[there, c]) for c in columns]
    p = min(1.0, len(gaps) * float(kstwo.sf(max(gaps), size)))
    return MixtureFit(max(gaps), p, fits=p >= ALPHA)


def weighted_gap(source: Floats, weight: Floats, target: Floats) -> float:
    """Largest gap between the weighted distribution function of `source` and that of `target`."""
    order = np.argsort(source)
    below = np.concatenate([[0.0], np.cumsum(weight[order])]) / weight.sum()
    points = np.concatenate([source, target])
    here = below[np.searchsorted(source[order], points, side="right")]
    there = np.searchsorted(np.sort(target), points, side="right") / target.size
    return float(np.abs(here - there).max())
