"""The interval of a share of trials: independent ones, and scans of which some are of one patient."""

from math import sqrt

import numpy as np

from pipeline.evaluate.intervals import Interval, Z
from pipeline.evaluate.predictions import Flags, Indices


def wilson(found: int, trials: int) -> Interval:
    """Wilson's 95 % interval of a share `found` / `trials`.

    Args:
        found: How many of the trials, 0..trials.
        trials: Number of independent trials. Scans of one patient are not: count patients, or resample them.

    Returns:
        Limits within 0..1; a reason instead where there is no trial.
    """
    if trials == 0:
        return Interval(None, None, "no trial to take a share of", "wilson")
    low, high = wilson_limits(found / trials, trials)
    return Interval(low, high, method="wilson")


def wilson_limits(share: float, trials: float) -> tuple[float, float]:
    """Limits of Wilson's 95 % interval of a share p seen in n trials, n >= 1.

    (p + z^2 / (2 n) -+ z sqrt(p (1 - p) / n + z^2 / (4 n^2))) / (1 + z^2 / n), z = 1.96.

    Source:
        Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.
    """
    middle = (share + Z**2 / (2 * trials)) / (1 + Z**2 / trials)
    half = Z * sqrt(share * (1 - share) / trials + Z**2 / (4 * trials**2)) / (1 + Z**2 / trials)
    return max(0.0, middle - half), min(1.0, middle + half)


def effective_trials(found: Flags, patient: Indices) -> float:
    """How many independent trials tell as much of a share as these scans, of which some are of one patient.

    n / max(1, D), where the design effect D is the variance of the share p of n scans over I patients, each with x of
    its m scans found, relative to that of independent scans: D = I / (I - 1) sum (x - p m)^2 / n^2 / (p (1 - p) / n).
    Where no patient repeats it is n; where p is 0 or 1, or all scans are of one patient, scans of a patient may be all
    alike, and it is I.

    Args:
        found: Which scans count, shape (n,), n >= 1.
        patient: Patient of each scan, shape (n,).

    Source:
        Rao & Scott 1992, A Simple Method for the Analysis of Clustered Binary Data; never above n, as in Korn &
        Graubard 1998, Confidence Intervals for Proportions with Small Expected Number of Positive Counts.
    """
    _, owner, scans = np.unique(patient, return_inverse=True, return_counts=True)
    n, people, share = found.size, scans.size, float(found.mean())
    if people == n:
        return float(n)
    if share in (0.0, 1.0) or people == 1:
        return float(people)
    apart = np.bincount(owner, weights=found) - share * scans
    effect = people / (people - 1) * float((apart**2).sum()) / n / (share * (1 - share))
    return n / max(1.0, effect)
