"""What a policy promises of the false-alarm rate, and whether normal scans bear it out."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from typing import Any, Literal

from scipy.stats import beta

from pipeline.evaluate.intervals import LEVEL

Kept = Literal["kept", "broken", "open"]


@dataclass(frozen=True, slots=True)
class Promise:
    """A normal scan of a new patient is called abnormal at most this often, on average over calibration sets.

    Attributes:
        rate: The share, 0 < rate < 1.
        calibrated_on: Number of held-out normal patients that the decision rests on; None where that is not known.
    """

    rate: float
    calibrated_on: int | None = None

    @property
    def spread(self) -> tuple[float, float] | None:
        """Where the true rate of one calibration lies in 95 % of cases, if new normals are as those were.

        A decision by conformal p-value <= rate on n normals, one scan each, has a true rate that is distributed as
        Beta(k, n + 1 - k), k = floor(rate (n + 1)): each calibration draws its own. (0, 0) for k = 0.

        Source:
            Vovk 2012, Conditional Validity of Inductive Conformal Predictors, section 3.
        """
        if self.calibrated_on is None:
            return None
        k = floor(self.rate * (self.calibrated_on + 1) + 1e-9)  # 0.05 * 20 is a little above 1
        if k == 0:
            return 0.0, 0.0
        rates = beta(k, self.calibrated_on + 1 - k)
        return float(rates.ppf((1 - LEVEL) / 2)), float(rates.ppf((1 + LEVEL) / 2))


def judge(found: Mapping[str, Any], promise: Promise | None) -> dict[str, Any]:
    """The promise beside what was found: `kept`, `broken`, `open`, or null with a reason.

    Kept: the whole interval lies at or below the promised rate. Broken: it lies above. Open: the rate is inside, so
    these normals agree with the promise without proving it.

    Args:
        found: The false-alarm rate, each patient counted once, as `{value, low, high}`.
        promise: Of the policy, or None.
    """
    record: dict[str, Any] = {"promised": None, "spread": None, "promise": None}
    if promise is None:
        return record | {"promise_reason": "the policy promises no false-alarm rate"}
    spread = promise.spread
    record["promised"] = promise.rate
    if spread is not None:
        record["spread"] = {"low": round(spread[0], 6), "high": round(spread[1], 6)}
    if found["low"] is None:
        return record | {"promise_reason": f"no interval to judge it by: {found['reason']}"}
    return record | {"promise": against_limit(found, promise.rate)}


def against_limit(found: Mapping[str, Any], limit: float, *, at_least: bool = False) -> Kept:
    """A figure beside its limit: kept where the whole interval is within it, broken where it lies beyond, else open.

    Args:
        found: `{value, low, high}`, with limits.
        limit: What the figure must not be above.
        at_least: The limit is what it must not be below, instead.
    """
    if at_least:
        return "kept" if found["low"] >= limit else "broken" if found["high"] < limit else "open"
    return "kept" if found["high"] <= limit else "broken" if found["low"] > limit else "open"
