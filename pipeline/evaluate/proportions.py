"""The interval of a share of independent trials."""

from math import sqrt

from pipeline.evaluate.intervals import Interval, Z


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


def wilson_limits(share: float, trials: int) -> tuple[float, float]:
    """Limits of Wilson's 95 % interval of a share p seen in n trials, n >= 1.

    (p + z^2 / (2 n) -+ z sqrt(p (1 - p) / n + z^2 / (4 n^2))) / (1 + z^2 / n), z = 1.96.

    Source:
        Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.
    """
    middle = (share + Z**2 / (2 * trials)) / (1 + Z**2 / trials)
    half = Z * sqrt(share * (1 - share) / trials + Z**2 / (4 * trials**2)) / (1 + Z**2 / trials)
    return max(0.0, middle - half), min(1.0, middle + half)
