"""What two models differ by on the same scans: AUROC by DeLong, calls at their own thresholds by the bootstrap."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.evaluate.compare.match import Pair
from pipeline.evaluate.compare.read import Validated
from pipeline.evaluate.delong import AurocEstimate, PairedTest, auroc_interval, paired_test
from pipeline.evaluate.estimates import DECIMALS, Quantity, Statistic, estimate
from pipeline.evaluate.intervals import LEVEL
from pipeline.evaluate.metrics import count_cells, count_metrics, sum_by_patient
from pipeline.evaluate.multiplicity import holm, questions
from pipeline.evaluate.overall import ACCURACY, right_rows
from pipeline.evaluate.predictions import Flags, Floats, PredictionTable
from pipeline.evaluate.ranking import rank_scores, ranking_areas

SIDES = ("a", "b", "difference")
CALLS = ("sensitivity", "specificity")
TEST = (
    "paired DeLong test, scans clustered by patient (DeLong 1988, Obuchowski 1997), two-sided; adjusted by Holm 1979; "
    "AUROC intervals on the logit scale with Student's t"
)
BOOTSTRAP = "BCa bootstrap over patients (Efron 1987), both models on the same resamples; the rest names its method"
RESAMPLES = 2000


def measure_pair(pair: Pair, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """The numbers of compare.json: each as `{value, low, high}` of A, of B, and of B minus A.

    Args:
        pair: Two validations of the same scans.
        resamples: Bootstrap resamples of the patients.
        seed: Seed of the resamples.
    """
    table, patients = pair.first, int(pair.first.patient_index.max()) + 1
    right = [right_rows(t, dict(v.thresholds), v.anomaly_threshold) for t, v in _sides(pair)]
    statistics = [_accuracy(table, right), _macro(pair), *(_calls(pair, c) for c in table.measured)]
    if table.task != "one_class":
        statistics.append(_decision(pair))
    found = estimate(statistics, patients=patients, rows=table.n, resamples=resamples, seed=seed)
    accuracy, macro, *calls = [_nested(each) for each in found]
    classes = {}
    for c, called in zip(table.measured, calls, strict=False):
        name, positive = table.classes[c], table.truth[:, c] == 1
        threshold = {side: v.thresholds.get(name) for side, (_, v) in zip("ab", _sides(pair), strict=True)}
        counts = {"support": int(positive.sum()), "n": table.n, "threshold": threshold}
        classes[name] = counts | {"auroc": _auroc(pair, c)} | called[name]
    _adjust(table, classes)
    return {
        "task": table.task,
        "n": table.n,
        "n_patients": patients,
        "classes": classes,
        "tested": [name for name in questions(table) if classes[name]["auroc"]["p_value"] is not None],
        "macro": {"auroc": _one_question(table, classes) or macro["auroc"]},
        "accuracy": accuracy["accuracy"] | {"definition": ACCURACY[table.task]},
        "decision": calls[-1]["decision"] if table.task != "one_class" else calls[0][table.classes[1]],
        "right": _right(right),
        "test": {"method": TEST, "level": LEVEL},
        "interval": {"method": BOOTSTRAP, "resamples": resamples, "unit": "patient", "level": LEVEL, "seed": seed},
    }


def _sides(pair: Pair) -> tuple[tuple[PredictionTable, Validated], tuple[PredictionTable, Validated]]:
    return (pair.first, pair.a), (pair.second, pair.b)


def scores_of(table: PredictionTable, c: int) -> Floats:
    """By what a class is ranked, shape (n,)."""
    return table.anomaly_score if table.task == "one_class" else table.probability[:, c]


def _auroc(pair: Pair, c: int) -> dict[str, Any]:
    positive, patient = pair.first.truth[:, c] == 1, pair.first.patient_index
    first, second = (scores_of(table, c) for table, _ in _sides(pair))
    test = paired_test(first, second, positive, patient)
    a, b = (_estimate_record(auroc_interval(score, positive, patient)) for score in (first, second))
    return {"a": a, "b": b, **_test_record(test)}


def _estimate_record(found: AurocEstimate) -> dict[str, Any]:
    return _limits(found.value, found.low, found.high, found.reason)


def _test_record(test: PairedTest) -> dict[str, Any]:
    numbers = {"z": test.z, "p_value": test.p_value}
    record = {name: None if number is None else float(f"{number:.6g}") for name, number in numbers.items()}
    difference = _limits(test.difference, test.low, test.high, test.reason)
    return {"difference": difference, **record, "adjusted": None} | ({"reason": test.reason} if test.reason else {})


def _limits(value: float | None, low: float | None, high: float | None, reason: str) -> dict[str, Any]:
    numbers = {"value": value, "low": low, "high": high}
    record: dict[str, Any] = {name: None if x is None else round(x, DECIMALS) for name, x in numbers.items()}
    if reason:
        record["reason"] = reason if value is None else f"no interval: {reason}"
    return record


def _one_question(table: PredictionTable, classes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where the mean is over one question, its own numbers: a second interval of the same could say another thing."""
    family = questions(table)
    return {side: classes[family[0]]["auroc"][side] for side in SIDES} if len(family) == 1 else None


def _adjust(table: PredictionTable, classes: Mapping[str, Any]) -> None:
    """Add Holm's adjusted p over the questions asked."""
    family = questions(table)
    for name, adjusted in zip(family, holm([classes[name]["auroc"]["p_value"] for name in family]), strict=True):
        classes[name]["auroc"]["adjusted"] = adjusted
    for name in set(classes) - set(family):
        classes[name]["auroc"]["adjusted"] = classes[name]["auroc"]["p_value"]


def _three(name: tuple[str, ...], missing: str, units: int) -> tuple[Quantity, ...]:
    """A, B and their difference; a difference is no share of trials, so it has no exact interval."""
    return tuple(Quantity((*name, side), missing, units if side != "difference" else 0) for side in SIDES)


def _accuracy(table: PredictionTable, right: list[Flags | None]) -> Statistic:
    patient = table.patient_index
    shown = [np.full(table.n, np.nan) if flags is None else flags.astype(np.float64) for flags in right]
    sums = sum_by_patient(np.stack([*shown, np.ones(table.n)], axis=1), patient, int(patient.max()) + 1)

    def compute(weights: Floats) -> Floats:
        a, b, n = sums @ weights
        return np.stack([a / n, b / n, (b - a) / n])

    people = np.unique(patient)
    return Statistic(_three(("accuracy",), "a class has no threshold", people.size), people, compute)


def _macro(pair: Pair) -> Statistic:
    """Mean AUROC over the classes that have both sides."""
    table, patient = pair.first, pair.first.patient_index
    both = [c for c in table.measured if 0 < table.truth[:, c].sum() < table.n]
    ranked = [[rank_scores(scores_of(t, c), t.truth[:, c] == 1, patient) for c in both] for t, _ in _sides(pair)]

    def compute(weights: Floats) -> Floats:
        if not both:
            return np.full((3, weights.shape[1]), np.nan)
        a, b = (np.mean([ranking_areas(each, weights)[0] for each in of_side], axis=0) for of_side in ranked)
        return np.stack([a, b, b - a])

    missing = "no class has both positive and negative rows"
    return Statistic(_three(("auroc",), missing, 0), np.unique(patient), compute)


def _calls(pair: Pair, c: int) -> Statistic:
    """Sensitivity and specificity of one class, each model at its own threshold."""
    name = pair.first.classes[c]
    called: list[Flags | None] = []
    for table, side in _sides(pair):
        threshold = side.thresholds.get(name)
        if table.task == "one_class":
            called.append(table.decided(side.anomaly_threshold))
        else:
            called.append(None if threshold is None else table.probability[:, c] >= threshold)
    return _called(pair, name, pair.first.truth[:, c] == 1, called)


def _decision(pair: Pair) -> Statistic:
    """Sensitivity and specificity of normal or not."""
    called: list[Flags | None] = [table.decided(side.anomaly_threshold) for table, side in _sides(pair)]
    return _called(pair, "decision", pair.first.abnormal, called)


def _called(pair: Pair, name: str, positive: Flags, called: list[Flags | None]) -> Statistic:
    patient = pair.first.patient_index
    cells = [
        None if flags is None else sum_by_patient(count_cells(positive, flags), patient, int(patient.max()) + 1)
        for flags in called
    ]

    def compute(weights: Floats) -> Floats:
        a, b = (
            np.full((2, weights.shape[1]), np.nan) if each is None else count_metrics(each @ weights)[:2]
            for each in cells
        )
        return np.concatenate([np.stack([a[m], b[m], b[m] - a[m]]) for m in range(len(CALLS))])

    quantities: list[Quantity] = []
    for metric, rows, empty in zip(CALLS, (positive, ~positive), ("no positive rows", "no negative rows"), strict=True):
        missing = "no threshold for this class" if rows.any() else empty
        quantities.extend(_three((name, metric), missing, np.unique(patient[rows]).size))
    return Statistic(tuple(quantities), np.unique(patient), compute)


def _right(right: list[Flags | None]) -> dict[str, int] | None:
    """How many scans both, only one, or neither of the models got right; None where accuracy is not defined."""
    a, b = right
    if a is None or b is None:
        return None
    both = {"both": a & b, "only_a": a & ~b, "only_b": b & ~a, "neither": ~a & ~b}
    return {name: int(rows.sum()) for name, rows in both.items()}


def _nested(found: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """Names as paths to records within records."""
    record: dict[str, Any] = {}
    for name, number in found.items():
        place = record
        for step in name[:-1]:
            place = place.setdefault(step, {})
        place[name[-1]] = number
    return record
