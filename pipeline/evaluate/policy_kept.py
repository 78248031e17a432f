"""What a bundle's policy achieves on scans that did not choose its threshold: all of them, and each group."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from pipeline.decide.policy import Policy
from pipeline.decide.record import PolicyRecord
from pipeline.evaluate.estimates import Estimates, Quantity, Statistic
from pipeline.evaluate.patient_sums import patient_sums, statistic_of_sums
from pipeline.evaluate.predictions import Flags, Floats, Indices, PredictionTable
from pipeline.evaluate.promise import against_limit

FIGURES = ("sensitivity", "specificity", "false_alarm", "called")
COSTS = ("cost", "cost_of_none", "cost_of_all")
PROMISED = {"sensitivity": "sensitivity", "false_alarm": "false_alarm"}  # kind of policy to the figure it promises
NO_PROMISE = {
    "capacity": "a capacity is promised for scans as they come in, and their mix of labels is not the one here",
    "cost": "a cost policy promises no share; its cost stands beside that of calling no scan, and of calling all",
}


def policy_statistic(table: PredictionTable, rows: Indices, threshold: float, rule: Policy) -> Statistic:
    """What the decision, anomaly or normal, does on some rows, as functions of patient weights.

    sensitivity: share of abnormal scans called; specificity: share of normal scans not called; false_alarm: mean over
    patients with normal scans of the share of these that is called; called: share of all scans called. For a cost
    policy, of a miss that costs C at a prevalence pi: cost = pi C (1 - sensitivity) + (1 - pi) (1 - specificity), which
    is pi C where none is called and 1 - pi where all are.

    Args:
        table: The predictions.
        rows: Which of them to measure.
        threshold: Anomaly score from which a scan is called, where the table does not say itself.
        rule: The policy.
    """
    called, abnormal = table.decided(threshold)[rows], table.abnormal[rows]
    patient = table.patient_index
    sums = _sums(called, abnormal, patient[rows], int(patient.max()) + 1)
    costs = rule.kind == "cost"

    def values(found: Floats) -> Floats:
        missed, hits, left, alarms, share, people = found
        with np.errstate(invalid="ignore", divide="ignore"):
            sensitivity, specificity = hits / (hits + missed), left / (left + alarms)
            figures = [sensitivity, specificity, share / people, (hits + alarms) / found[:4].sum(axis=0)]
        if costs:
            none, everyone = np.full_like(sensitivity, rule.of * rule.amount), np.full_like(sensitivity, 1 - rule.of)
            figures += [none * (1 - sensitivity) + everyone * (1 - specificity), none, everyone]
        return np.stack(figures)

    def people(side: Flags) -> int:
        return int(np.unique(patient[rows][side]).size)

    missing = {"sensitivity": "no abnormal rows", "specificity": "no normal rows", "false_alarm": "no normal rows"}
    missing |= {"cost": "it needs normal and abnormal rows"}
    trials = {"sensitivity": people(abnormal), "specificity": people(~abnormal), "false_alarm": people(~abnormal)}
    trials |= {"called": people(np.ones_like(abnormal))}
    names = FIGURES + (COSTS if costs else ())
    quantities = tuple(Quantity(("policy", n), missing.get(n, ""), trials.get(n, 0)) for n in names)
    return statistic_of_sums(quantities, sums, np.unique(patient[rows]), values)


def _sums(called: Flags, abnormal: Flags, patient: Indices, patients: int) -> sparse.csr_array:
    """Of each patient: missed, found, left alone, alarms, share of the normal scans called, whether there are any."""
    cells = patient_sums(
        np.where(abnormal, called.astype(np.intp), 2 + called.astype(np.intp)), 1.0, patient, shape=(4, patients)
    ).toarray()
    normals = cells[2] + cells[3]
    share = cells[3] / np.maximum(normals, 1)
    return sparse.csr_array(np.vstack([cells, share, normals > 0]))


def scope_record(table: PredictionTable, rows: Indices, found: Estimates, rule: Policy) -> dict[str, Any]:
    """The figures of some rows, and whether the policy's promise is kept there."""
    abnormal, patient = table.abnormal[rows], table.patient_index[rows]
    sides: dict[str, Flags] = {"abnormal": abnormal, "normal": ~abnormal}
    record: dict[str, Any] = {
        name: {"scans": int(side.sum()), "patients": int(np.unique(patient[side]).size)} for name, side in sides.items()
    }
    record |= {name: found["policy", name] for name in FIGURES}
    if rule.kind == "cost":
        record |= {"cost": found["policy", "cost"]}
        record |= {name: found["policy", name]["value"] for name in COSTS[1:]}
    return record | _judged(record, rule)


def _judged(record: Mapping[str, Any], rule: Policy) -> dict[str, Any]:
    """`promise`: `kept`, `broken` or `open`, or null with a reason."""
    if rule.kind not in PROMISED:
        return {"promise": None, "promise_reason": NO_PROMISE[rule.kind]}
    found = record[PROMISED[rule.kind]]
    if found["low"] is None:
        return {"promise": None, "promise_reason": f"no interval to judge it by: {found['reason']}"}
    return {"promise": against_limit(found, rule.amount, at_least=rule.kind == "sensitivity")}


def policy_record(policy: PolicyRecord, test: Mapping[str, Any], groups: Mapping[str, Any]) -> dict[str, Any]:
    """`policy` of metrics.json.

    Args:
        policy: Of the bundle.
        test: `scope_record` of all rows.
        groups: Column to value to `scope_record`.
    """
    rule = policy.rule
    figure = PROMISED.get(rule.kind)
    bound = "at_least" if rule.kind == "sensitivity" else "at_most"
    return {
        "rule": rule.text,
        "words": rule.words,
        "promised": {"figure": figure, bound: rule.amount} if figure else None,
        "chosen_on": policy.chosen_on or f"the {policy.measured_on}",
        "validation": [achieved.model_dump(mode="json") for achieved in policy.achieved],
        "test": dict(test),
        "groups": dict(groups),
    }
