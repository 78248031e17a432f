"""A number with its interval, or the reason why it is missing."""

from dataclasses import dataclass

import numpy as np

from pipeline.evaluate.predictions import Floats

DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Number:
    """One figure of a shift report.

    Attributes:
        value: The figure, or None.
        low, high: Limits of its 95 % interval, or None.
        reason: Why value or limits are missing; else empty.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def missing(reason: str) -> Number:
    """A number that cannot be given."""
    return Number(None, reason=reason)


def with_percentiles(value: float, replicates: Floats, *, level: float = 0.95) -> Number:
    """A value with the central `level` of its bootstrap replicates; without limits where none is finite."""
    finite = replicates[np.isfinite(replicates)]
    if finite.size < 2:
        return Number(rounded(value), reason="no interval: it is defined in no resample")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Number(rounded(value), rounded(low), rounded(high))


def rounded(value: float) -> float:
    """A plain float with 6 decimals, as it stands in the report."""
    return round(float(value), DECIMALS)
