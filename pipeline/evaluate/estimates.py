"""Statistics of patient weights become estimates: value, interval, and a reason where either is missing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.evaluate.intervals import (
    Interval,
    bca,
    centred,
    resampled_weights,
    without_errors,
)
from pipeline.evaluate.jackknife import jackknife, parts_of
from pipeline.evaluate.predictions import Floats, Indices

CELLS = (
    500_000  # numbers in one working array: small enough for the processor cache, large enough that steps cost little
)
DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of a statistic.

    Attributes:
        name: Where it stands in metrics.json, such as `("macro", "auroc")`.
        missing: Why it has no value, should it have none.
        units: Independent trials behind it, for the interval of a flawless 1 or 0; 0 where that does not apply.
        biased: Whether its resamples lie above it by construction.
    """

    name: tuple[str, ...]
    missing: str = ""
    units: int = 0
    biased: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Statistic:
    """Numbers that are functions of patient weights.

    Attributes:
        quantities: M numbers.
        patients: The patients they depend on.
        compute: Weights of shape (P, r) to values of shape (M, r), NaN where undefined.
        left_out: The same with each of `patients` left out, shape (M, len(patients)), where there is a quicker way.
    """

    quantities: tuple[Quantity, ...]
    patients: Indices
    compute: Callable[[Floats], Floats]
    left_out: Callable[[], Floats] | None = None


Record = dict[str, Any]
Estimates = dict[tuple[str, ...], Record]


def estimate(
    statistics: Sequence[Statistic], *, patients: int, rows: int, resamples: int, seed: int
) -> list[Estimates]:
    """Value and interval of every quantity; all of them see the same resamples.

    Args:
        statistics: What to compute.
        patients: P, the number of patients.
        rows: Number of rows behind the statistics; bounds the memory.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
    """
    size = max(16, CELLS // rows)
    values = [s.compute(np.ones((patients, 1)))[:, 0] for s in statistics]
    replicates: list[list[Floats]] = [[] for _ in statistics]
    for weights in resampled_weights(patients, resamples, seed, size):
        for parts, statistic in zip(replicates, statistics, strict=True):
            parts.append(statistic.compute(weights))
    results = []
    for statistic, value, parts in zip(statistics, values, replicates, strict=True):
        if statistic.left_out:
            without = statistic.left_out()
        else:
            left_out, needed = parts_of(statistic.patients, seed), np.isfinite(value)
            without = jackknife(statistic.compute, left_out, patients=patients, needed=needed, size=size)
        table = zip(statistic.quantities, value, np.hstack(parts), without, strict=True)
        results.append({q.name: _record(q, float(v), r, j) for q, v, r, j in table})
    return results


def _record(quantity: Quantity, value: float, replicates: Floats, jackknife: Floats) -> Record:
    """`{value, low, high}`, with a `reason` where one is null and the `method` where it is not BCa."""
    if not np.isfinite(value):
        return null(quantity.missing or "not defined for these rows")
    defined = replicates[np.isfinite(replicates)]
    found = _interval(quantity, value, defined, jackknife)
    record: Record = {"value": _round(value), "low": _round(found.low), "high": _round(found.high)}
    if found.reason:
        record["reason"] = f"no interval: {found.reason}"
    elif found.method != "bca":
        record["method"] = found.method
    if defined.size < replicates.size:
        record["resamples_left_out"] = int(replicates.size - defined.size)
    return record


def _interval(quantity: Quantity, value: float, replicates: Floats, jackknife: Floats) -> Interval:
    if jackknife.size < 2 or not np.isfinite(jackknife).all():
        return Interval(None, None, "it rests on a single patient")
    if replicates.size < 2:
        return Interval(None, None, "no resample in which it is defined")
    if np.ptp(replicates) <= 1e-12:
        if quantity.units and value in (0.0, 1.0):
            return without_errors(value, quantity.units)
        return Interval(None, None, "every resample gives the same value")
    return centred(value, replicates) if quantity.biased else bca(value, replicates, jackknife)


def null(reason: str) -> Record:
    """The record of a number that cannot be computed."""
    return {"value": None, "low": None, "high": None, "reason": reason}


def _round(number: float | None) -> float | None:
    return None if number is None else round(number, DECIMALS)
