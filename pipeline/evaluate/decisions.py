"""What validation says of decisions that are left to a person: prediction sets, risk and coverage, referrals."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.decide.prediction_sets import SetRecord, Sets, prediction_sets
from pipeline.evaluate.estimates import Quantity, Statistic, estimate
from pipeline.evaluate.groups import SMALL, group_scopes, whole
from pipeline.evaluate.metrics import sum_by_patient
from pipeline.evaluate.predictions import Flags, Floats, Indices, PredictionTable
from pipeline.evaluate.risk_coverage import (
    DEFINITION,
    NO_PROBABILITY,
    rank_errors,
    risk_curve,
    risk_statistic,
    sureness,
)
from pipeline.evaluate.set_coverage import SIZE, set_record, set_statistic

NO_SETS = "the bundle has no prediction sets: none were asked for, or it is from before there were any"
RANKED = "a detector has no prediction sets: its decision is a conformal p-value"


def measure_decisions(
    table: PredictionTable,
    sets: SetRecord | None,
    referrals: Sequence[str],
    *,
    threshold: float,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """`conformal`, `risk_coverage` and `referral` of metrics.json; without groups of fewer than `SMALL` patients.

    Args:
        table: Labels and predictions.
        sets: Of the bundle.
        referrals: Why each scan is referred, n reasons; empty where it is not.
        threshold: Anomaly score from which a scan is called abnormal.
        resamples, seed: As for `measure`.
    """
    scopes = {(): whole(table).rows} | {
        key: scope.rows
        for key, scope in group_scopes(table).items()
        if np.unique(table.patient_index[scope.rows]).size >= SMALL
    }
    referred = np.array([bool(reason) for reason in referrals], bool)
    wrong = np.asarray(table.decided(threshold) != table.abnormal)
    found_sets = prediction_sets(sets, table.probability) if sets else None
    ranked = None if table.task == "one_class" else rank_errors(*sureness(table), table.patient_index)
    statistics = [_referrals(table, referred, wrong, rows) for rows in scopes.values()]
    if sets and found_sets:
        statistics += [set_statistic(table, sets, found_sets, rows) for rows in scopes.values()]
    if ranked:
        statistics.append(risk_statistic(ranked))
    patients = int(table.patient_index.max()) + 1
    found = estimate(statistics, patients=patients, rows=table.n, resamples=resamples, seed=seed)

    shares = [_shared(one, referred, rows) for one, rows in zip(found, scopes.values(), strict=False)]
    codes = Counter(reason.partition(":")[0] for reason in referrals if reason)
    told: dict[str, Any] = {"referral": _nested(scopes, shares) | {"codes": dict(sorted(codes.items()))}}
    told["conformal"] = {"level": None, "reason": RANKED if table.task == "one_class" else NO_SETS}
    if sets and found_sets:
        measured = found[len(scopes) :]
        records = [
            set_record(table, sets, found_sets, rows, one) for rows, one in zip(scopes.values(), measured, strict=False)
        ]
        told["conformal"] = {
            "level": sets.level,
            "decides": sets.decides,
            "size_definition": SIZE[table.task],
            "against_policy": _against(sets, found_sets, table.decided(threshold)),
        } | _nested(scopes, records)
    told["risk_coverage"] = {"aurc": None, "reason": NO_PROBABILITY}
    if ranked:
        last = found[-1]
        told["risk_coverage"] = {
            "definition": DEFINITION[table.task],
            "aurc": last["aurc",],
            "error": last["error",],
            "curve": risk_curve(ranked),
            "not_referred": _kept_point(sureness(table)[1], ~referred),
        }
    return told


def _referrals(table: PredictionTable, referred: Flags, wrong: Flags, rows: Indices) -> Statistic:
    """Share of scans referred, share of all decided wrongly by the policy alone, and of those that are not referred."""
    patient = table.patient_index
    kept = ~referred
    columns = np.stack([np.ones(table.n), referred, wrong, kept, kept & wrong], axis=1).astype(np.float64)
    sums = sum_by_patient(columns[rows], patient[rows], int(patient.max()) + 1)

    def compute(weights: Floats) -> Floats:
        n, left, errors, remaining, remaining_errors = sums @ weights
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack([left / n, errors / n, remaining_errors / remaining])

    people = np.unique(patient[rows])
    units = (people.size, people.size, np.unique(patient[rows][kept[rows]]).size)
    names = ("referred", "error", "error_not_referred")
    missing = "every scan is referred"
    return Statistic(tuple(Quantity((n,), missing, u) for n, u in zip(names, units, strict=True)), people, compute)


def _shared(found: dict[tuple[str, ...], dict[str, Any]], referred: Flags, rows: Indices) -> dict[str, Any]:
    counts = {"n": int(rows.size), "n_referred": int(referred[rows].sum())}
    return counts | {name[0]: number for name, number in found.items()}


def _nested(scopes: dict[Any, Indices], records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The record of all rows, with those of the groups under `groups.<column>.<value>`."""
    groups: dict[str, dict[str, Any]] = {}
    for key, record in zip(scopes, records, strict=True):
        if key:
            groups.setdefault(key[0], {})[key[1]] = record
    return {**records[0], "groups": groups}


def _against(record: SetRecord, sets: Sets, called: Flags) -> dict[str, Any]:
    """Scans whose set is on one side and the policy's decision on the other; the policy's stands."""
    held = sets.present
    known = np.array([one.limit is not None for one in record.present.values()])
    if sets.absent is not None:
        normal, abnormal = held[:, 0], sets.absent[:, 0]
    else:
        normal, abnormal = held[:, 0] & known[0], (held & known)[:, 1:].any(axis=1)
    return {
        "only_normal_called_anomaly": int((normal & ~abnormal & called).sum()),
        "only_abnormal_called_normal": int((abnormal & ~normal & ~called).sum()),
    }


def _kept_point(wrong: Flags, kept: Flags) -> dict[str, float | None]:
    """Where the scans that are not referred stand beside the curve."""
    risk = round(float(wrong[kept].mean()), 6) if kept.any() else None
    return {"coverage": round(float(kept.mean()), 6), "risk": risk}
