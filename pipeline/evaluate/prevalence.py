"""PPV and NPV at a prevalence that the user names, instead of the one among the scans measured."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pipeline.errors import ConfigError
from pipeline.evaluate.estimates import DECIMALS, Estimates, Quantity, Record, Statistic
from pipeline.evaluate.metrics import count_cells, count_metrics, sum_by_patient
from pipeline.evaluate.patient_sums import statistic_of_sums
from pipeline.evaluate.predictions import Flags, Floats, PredictionTable

DECISION = "anomaly"  # names the decision, where no class is called so
BY_LIMITS = "from the limits of sensitivity and specificity"


def predictive_values(sensitivity: Floats, specificity: Floats, prevalence: float) -> Floats:
    """PPV and NPV by Bayes' theorem; they rise with both sensitivity and specificity.

    PPV = se pi / (se pi + (1 - sp) (1 - pi)), NPV = sp (1 - pi) / (sp (1 - pi) + (1 - se) pi).

    Args:
        sensitivity, specificity: se and sp, shape (r,).
        prevalence: pi, 0 < pi < 1.

    Returns:
        Shape (2, r); NaN where nothing is called, or everything.

    Source:
        Altman & Bland 1994, Diagnostic tests 2: predictive values.
    """
    found, left = sensitivity * prevalence, specificity * (1 - prevalence)
    alarms, missed = (1 - specificity) * (1 - prevalence), (1 - sensitivity) * prevalence
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([found / (found + alarms), left / (left + missed)])


def check_prevalence(prevalence: Mapping[str, float], names: Iterable[str]) -> None:
    """Whether each class is known and each prevalence a share.

    Args:
        prevalence: Class to share.
        names: What may be named.

    Raises:
        ConfigError: If not.
    """
    known = list(dict.fromkeys(names))
    for name, share in prevalence.items():
        if name not in known:
            raise ConfigError(f"prevalence of {name!r}: no such class; there are {', '.join(known)}")
        if not 0 < share < 1:
            raise ConfigError(f"prevalence of {name}: {share:g}, expected a share above 0 and below 1")


def prevalence_statistics(
    table: PredictionTable, thresholds: Mapping[str, float], anomaly_threshold: float, prevalence: Mapping[str, float]
) -> list[Statistic]:
    """PPV and NPV of each class named, at the prevalence named.

    Sensitivity and specificity are taken as they are among these scans; the specificity of one class among several so
    keeps these scans' mix of the others.
    """
    classes = {table.classes[c]: c for c in table.measured}
    statistics = []
    for name, share in prevalence.items():
        if name in classes and table.task != "one_class":
            c = classes[name]
            positive = table.truth[:, c] == 1
            threshold = thresholds.get(name)
            called = None if threshold is None else table.probability[:, c] >= threshold
        else:
            positive, called = table.abnormal, table.decided(anomaly_threshold)
        statistics.append(_statistic(table, name, positive, called, share))
    return statistics


def _statistic(
    table: PredictionTable, name: str, positive: Flags, called: Flags | None, prevalence: float
) -> Statistic:
    patient = table.patient_index
    undecided = called is None
    cells = count_cells(positive, np.zeros_like(positive) if called is None else called)
    sums = sum_by_patient(cells, patient, int(patient.max()) + 1)

    def values(found: Floats) -> Floats:
        sensitivity, specificity, *_ = count_metrics(found)
        both = predictive_values(sensitivity, specificity, prevalence)
        return np.full_like(both, np.nan) if undecided else both

    side = "no positive rows" if not positive.any() else "no negative rows" if positive.all() else ""
    missing = "no threshold for this class" if undecided else side
    why = {"ppv": missing or "no row reaches the threshold", "npv": missing or "every row reaches the threshold"}
    quantities = tuple(Quantity(("at_prevalence", name, metric), why[metric]) for metric in why)
    return statistic_of_sums(quantities, sums, np.unique(patient), values)


def prevalence_record(name: str, prevalence: float, class_record: Mapping[str, Any], found: Estimates) -> Record:
    """`{prevalence, ppv, npv}`; where every resample agrees, limits come from those of sensitivity and specificity.

    A PPV of 1 with no false alarm among few scans would else have no interval, and at a low prevalence it is where
    that matters most.

    Args:
        name: The class.
        prevalence: Named for it.
        class_record: With its `sensitivity` and `specificity`.
        found: Of its statistic.
    """
    both = (class_record["sensitivity"], class_record["specificity"])
    record: Record = {"prevalence": prevalence}
    for place, metric in enumerate(("ppv", "npv")):
        number = found["at_prevalence", name, metric]
        if number["value"] is not None and number["low"] is None and all(m["low"] is not None for m in both):
            ends = np.array([[m["low"], m["high"]] for m in both])
            low, high = map(float, predictive_values(ends[0], ends[1], prevalence)[place])
            number = {"value": number["value"], "low": round(low, DECIMALS), "high": round(high, DECIMALS)}
            number["method"] = BY_LIMITS
        record[metric] = number
    return record


def at_prevalence(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Class to `{prevalence, ppv, npv}` of those that were asked for; `anomaly` is the decision, or the class."""
    records = {DECISION: metrics["anomaly"], **metrics["classes"]}
    return {name: record["at_prevalence"] for name, record in records.items() if "at_prevalence" in record}
