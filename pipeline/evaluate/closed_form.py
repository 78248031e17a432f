"""Intervals and tests that have a formula, beside those of the bootstrap: DeLong's for AUROC, Wilson's for shares."""

from collections.abc import Mapping
from typing import Any

from pipeline.evaluate.delong import auroc_interval
from pipeline.evaluate.multiplicity import holm, questions
from pipeline.evaluate.predictions import Flags, Floats, Indices, PredictionTable
from pipeline.evaluate.proportions import effective_trials, wilson_limits

DELONG = (
    "DeLong 1988, scans clustered by patient (Obuchowski 1997), logit scale with Student's t; p: two-sided, "
    "of AUROC 0.5; adjusted: Holm 1979 over the classes tested"
)
WILSON = (
    "Wilson 1927 with the effective number of independent scans (Rao & Scott 1992), the number of patients where the "
    "share is 0 or 1 and patients repeat"
)
SHARES = ("sensitivity", "specificity", "ppv", "npv")
DECIMALS = 6


def closed_forms(score: Floats, positive: Flags, called: Flags | None, patient: Indices) -> dict[str, Any]:
    """`auroc_delong` and `wilson` of one class, as metrics.json has them.

    Args:
        score: Scores, shape (n,).
        positive: Which rows have the class, shape (n,).
        called: Which rows are called positive, shape (n,); None where there is no threshold.
        patient: Patient of each row, shape (n,).
    """
    found = auroc_interval(score, positive, patient)
    delong = _limits(found.low, found.high, found.reason) | {"p_value": _six(found.p_value), "adjusted": None}
    return {"auroc_delong": delong, "wilson": {name: _wilson(name, positive, called, patient) for name in SHARES}}


def add_closed_forms(table: PredictionTable, classes: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Add `closed_forms` to the record of each class over all rows, and Holm's adjustment over them.

    Args:
        table: The predictions.
        classes: Class name to its record; `threshold` says from where it is called.

    Returns:
        For `interval` of metrics.json: `delong` and `wilson`, how they are made; `tested`, the classes adjusted for.
    """
    for c in table.measured:
        record = classes[table.classes[c]]
        score = table.anomaly_score if table.task == "one_class" else table.probability[:, c]
        called = None if record["threshold"] is None else score >= record["threshold"]
        if table.called is not None:
            called = table.called
        record |= closed_forms(score, table.truth[:, c] == 1, called, table.patient_index)
    return {"delong": DELONG, "wilson": WILSON, "tested": _adjust(table, classes)}


def _adjust(table: PredictionTable, classes: Mapping[str, Any]) -> list[str]:
    """Set Holm's adjusted p over the questions that could be tested, and name these."""
    asked = questions(table)
    p_values = [classes[name]["auroc_delong"]["p_value"] for name in asked]
    for name, p in zip(asked, holm(p_values), strict=True):
        classes[name]["auroc_delong"]["adjusted"] = _six(p)
    for name in set(classes) - set(asked):
        classes[name]["auroc_delong"]["adjusted"] = classes[name]["auroc_delong"]["p_value"]
    return [name for name, p in zip(asked, p_values, strict=True) if p is not None]


def _wilson(name: str, positive: Flags, called: Flags | None, patient: Indices) -> dict[str, Any]:
    """Limits, how many scans the share is of, and how many independent ones tell as much."""
    if called is None:
        return _limits(None, None, "no threshold for this class") | {"n": None, "n_effective": None}
    of, right = {
        "sensitivity": (positive, called),
        "specificity": (~positive, ~called),
        "ppv": (called, positive),
        "npv": (~called, ~positive),
    }[name]
    n = int(of.sum())
    if not n:
        return _limits(None, None, "no scan to take a share of") | {"n": 0, "n_effective": 0.0}
    trials = effective_trials(right[of], patient[of])
    low, high = wilson_limits(float(right[of].mean()), trials)
    return _limits(low, high, "") | {"n": n, "n_effective": round(trials, 1)}


def _limits(low: float | None, high: float | None, reason: str) -> dict[str, Any]:
    record: dict[str, Any] = {"low": _rounded(low), "high": _rounded(high)}
    return record | ({"reason": f"no interval: {reason}"} if reason else {})


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, DECIMALS)


def _six(p: float | None) -> float | None:
    """Six significant digits, since a p may be far below any decimals."""
    return None if p is None else float(f"{p:.6g}")
