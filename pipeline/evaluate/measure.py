"""From predictions to metrics.json."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from pipeline.evaluate.clinical import Asked, Clinical
from pipeline.evaluate.closed_form import add_closed_forms
from pipeline.evaluate.detection import detection_record, detection_statistics
from pipeline.evaluate.estimates import Estimates, Statistic, estimate, null
from pipeline.evaluate.groups import SMALL, Scope, group_scopes, share, whole, withhold, worst_group
from pipeline.evaluate.intervals import LEVEL
from pipeline.evaluate.one_versus_rest import MEASURES, one_versus_rest, with_macro
from pipeline.evaluate.overall import (
    ACCURACY,
    CALIBRATION,
    accuracy_and_calibration,
    right_rows,
    worth_of_pretraining,
)
from pipeline.evaluate.predictions import Flags, PredictionTable
from pipeline.evaluate.promise import Promise
from pipeline.evaluate.reliability import claims, reliability_curve

METHOD = "BCa bootstrap over patients (Efron 1987); a number found otherwise names its method"


def measure(
    table: PredictionTable,
    thresholds: Mapping[str, float],
    anomaly_threshold: float,
    *,
    promise: Promise | None = None,
    asked: Asked | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that metrics.json holds.

    Args:
        table: Labels and predictions.
        thresholds: Class name to the probability from which it is called.
        anomaly_threshold: Anomaly score from which a scan is called abnormal.
        promise: What the policy says of the false-alarm rate, for `one_class`; None where it says nothing.
        asked: What else is wanted: the policy held against these scans, PPV and NPV at another prevalence.
        resamples: Bootstrap resamples of the patients, shared by all numbers.
        seed: Seed of the resamples.
    """
    scopes = {(): whole(table)} | group_scopes(table)
    right = right_rows(table, dict(thresholds), anomaly_threshold)
    patients = int(table.patient_index.max()) + 1
    of_scopes = [_statistics(table, scope, thresholds, right) for scope in scopes.values()]
    if table.task == "one_class":
        for scope, more in zip(scopes.values(), of_scopes, strict=True):
            more.extend(detection_statistics(table, scope, anomaly_threshold))
    statistics = [s for several in of_scopes for s in several]
    statistics.append(_anomaly(table, anomaly_threshold))
    if table.random_probability is not None:
        statistics.append(worth_of_pretraining(table, table.random_probability))
    clinical = Clinical(table, scopes, thresholds, anomaly_threshold, asked or Asked())
    everything = [*statistics, *clinical.statistics]
    results = estimate(everything, patients=patients, rows=table.n, resamples=resamples, seed=seed)
    found = iter(results[: len(statistics)])

    groups: dict[str, dict[str, Any]] = {column: {} for column in table.groups}
    for (key, scope), several in zip(scopes.items(), of_scopes, strict=True):
        numbers = {name: number for each in islice(found, len(several)) for name, number in each.items()}
        record = _record(table, scope, thresholds, numbers)
        if table.task == "one_class":
            detection_record(record, table, scope, numbers, anomaly_threshold, promise)
        if key:
            groups[key[0]][key[1]] = record
        else:
            metrics = record
    for stage, probability in (("before", table.uncalibrated), ("after", table.probability)):
        curve = [] if table.task == "one_class" else reliability_curve(claims(table, probability))
        metrics["calibration"].setdefault("curve", {})[stage] = curve
    closed = add_closed_forms(table, metrics["classes"])
    rest = list(found)
    anomaly = {name[-1]: number for name, number in rest[0].items()}
    support = {"support": int(table.abnormal.sum()), "n": table.n, "threshold": anomaly_threshold}
    interval = {"method": METHOD, "resamples": resamples, "unit": "patient", "level": LEVEL, "seed": seed}
    interval |= closed
    metrics = {
        "task": table.task,
        **metrics,
        "groups": groups,
        "anomaly": support | anomaly,
        "pretraining": _pretraining(table, rest[1:]),
        "confusion": _confusion(table),
        "disagreement": _disagreement(table, anomaly_threshold),
        "interval": interval,
    }
    clinical.add(metrics, results[len(statistics) :])
    _withhold_small(metrics)
    return metrics | {"worst_group": worst_group(groups)}


def _withhold_small(metrics: dict[str, Any]) -> None:
    """Empty the records of groups of few patients, wherever they stand."""
    for column, groups in metrics["groups"].items():
        for name, record in groups.items():
            if record["n_patients"] < SMALL:
                groups[name] = withhold(record)
                if "policy" in metrics:
                    of_policy = metrics["policy"]["groups"][column]
                    of_policy[name] = withhold(of_policy[name])


def _statistics(
    table: PredictionTable, scope: Scope, thresholds: Mapping[str, float], right: Flags | None
) -> list[Statistic]:
    """Two statistics of a scope: classes with their mean, and accuracy with calibration."""
    patient = table.patient_index
    patients = int(patient.max()) + 1
    parts = []
    for c, rows in zip(table.measured, scope.class_rows, strict=True):
        name = table.classes[c]
        score = table.anomaly_score if table.task == "one_class" else table.probability[:, c]
        parts.append(
            one_versus_rest(
                ("classes", name),
                score[rows],
                positive=table.truth[rows, c] == 1,
                patient=patient[rows],
                patients=patients,
                threshold=thresholds.get(name),
                decided=None if table.called is None else table.called[rows],
            )
        )
    return [with_macro(parts, patients), accuracy_and_calibration(table, right, scope.rows)]


def _anomaly(table: PredictionTable, threshold: float) -> Statistic:
    patient = table.patient_index
    return one_versus_rest(
        ("anomaly",),
        table.anomaly_score,
        positive=table.abnormal,
        patient=patient,
        patients=int(patient.max()) + 1,
        threshold=threshold,
        decided=table.called,
    )


def _record(table: PredictionTable, scope: Scope, thresholds: Mapping[str, float], found: Estimates) -> dict[str, Any]:
    """The numbers of one scope in the shape of metrics.json."""
    classes: dict[str, Any] = {}
    for c, measured, against in zip(table.measured, scope.class_rows, scope.against, strict=True):
        name = table.classes[c]
        counts = {"support": int(table.truth[scope.rows, c].sum()), "n": int(scope.rows.size)}
        prevalence = share(table.truth[measured, c])
        classes[name] = counts | {"prevalence": prevalence, "threshold": thresholds.get(name)}
        classes[name] |= {metric: found["classes", name, metric] for metric in MEASURES}
        if against:
            classes[name]["against"] = against
    macro: dict[str, Any] = {metric: found["macro", metric] for metric in MEASURES}
    counted = [name for name, record in classes.items() if record["auroc"]["value"] is not None]
    calibration: dict[str, Any] = {"ece": {}, "brier": {}}
    for number, stage in CALIBRATION:
        calibration[number][stage] = found["calibration", number, stage]
    record: dict[str, Any] = {
        "n": int(scope.rows.size),
        "n_patients": int(np.unique(table.patient_index[scope.rows]).size),
        "prevalence": share(table.abnormal[scope.rows]),
        "classes": classes,
        "macro": macro | {"classes": counted},
        "accuracy": found["accuracy",] | {"definition": ACCURACY[table.task]},
        "calibration": calibration,
    }
    if any(scope.against):
        record["against"] = "all scans here have one label; compared with all rows of the other side"
    return record


def _pretraining(table: PredictionTable, found: Sequence[Estimates]) -> dict[str, Any]:
    """Macro AUROC with and without pretrained weights, or why there is no comparison."""
    names = ("model", "random", "difference")
    if found:
        return {"metric": "macro.auroc"} | {name: found[0]["pretraining", name] for name in names}
    reason = table.random_reason or "no predictions from randomly initialised weights"
    return {"metric": "macro.auroc"} | {name: null(reason) for name in names} | {"reason": reason}


def _confusion(table: PredictionTable) -> dict[str, Any]:
    """Scans by label (rows) and most probable class (columns)."""
    if table.task != "multiclass":
        return {"classes": None, "counts": None, "reason": f"not defined for {table.task}"}
    counts = np.zeros((len(table.classes), len(table.classes)), dtype=np.int64)
    np.add.at(counts, (table.truth.argmax(axis=1), table.probability.argmax(axis=1)), 1)
    return {"classes": list(table.classes), "counts": counts.tolist()}


def _disagreement(table: PredictionTable, threshold: float) -> dict[str, Any]:
    """Scans where the most probable class and the decision differ on normal or not."""
    differ = table.decided(threshold) != (table.probability.argmax(axis=1) != 0)
    decision = "anomaly score >= threshold" if table.called is None else "the decision is anomaly"
    definition = f"scans where ({decision}) and (most probable class is not the first) differ"
    return {"n": int(differ.sum()), "of": table.n, "definition": definition}
