"""What `one_class` is measured by beyond the anomaly as such: each label against all normals, and false alarms."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.evaluate.estimates import Estimates, Quantity, Statistic
from pipeline.evaluate.groups import Scope, share
from pipeline.evaluate.metrics import sum_by_patient
from pipeline.evaluate.one_versus_rest import MEASURES, one_versus_rest
from pipeline.evaluate.predictions import Flags, Floats, Indices, PredictionTable
from pipeline.evaluate.promise import Promise, judge


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """Rows of one label and the normals it is measured against.

    Attributes:
        name: The label.
        rows: Both sides.
        positive: Which of `rows` have the label.
        support: How many.
        against: What stands in for normals where the scope has none; else empty.
    """

    name: str
    rows: Indices
    positive: Flags
    support: int
    against: str


def findings(table: PredictionTable, rows: Indices) -> list[Finding]:
    """Each label that is among some rows, against the normals among them, or against all where they have none."""
    normal = ~table.abnormal
    here, everywhere = rows[normal[rows]], np.flatnonzero(normal)
    against = "" if here.size else f"all {everywhere.size} normal rows of the whole table"
    normals = here if here.size else everywhere
    found = []
    for name, has in table.findings.items():
        ill = rows[has[rows]]
        if ill.size:
            positive = np.arange(ill.size + normals.size) < ill.size
            found.append(Finding(name, np.concatenate([ill, normals]), positive, int(ill.size), against))
    return found


def detection_statistics(table: PredictionTable, scope: Scope, threshold: float) -> list[Statistic]:
    """What `detection_record` needs, as functions of patient weights.

    Args:
        table: Of task `one_class`.
        scope: Rows to measure.
        threshold: Anomaly score from which a scan is called abnormal, where the table does not say itself.
    """
    patient = table.patient_index
    patients = int(patient.max()) + 1
    statistics = [_false_alarms(table, scope.rows, threshold)]
    for finding in findings(table, scope.rows):
        score, of = table.anomaly_score[finding.rows], patient[finding.rows]
        name = ("labels", finding.name)
        called = table.decided(threshold)[finding.rows]
        statistics.append(
            one_versus_rest(
                name,
                score,
                positive=finding.positive,
                patient=of,
                patients=patients,
                threshold=threshold,
                decided=called,
            )
        )
    return statistics


def detection_record(
    record: dict[str, Any],
    table: PredictionTable,
    scope: Scope,
    found: Estimates,
    threshold: float,
    promise: Promise | None,
) -> None:
    """Add to a scope's record its labels and its false alarms."""
    labels: dict[str, Any] = {}
    for finding in findings(table, scope.rows):
        counts = {"support": finding.support, "n": int(finding.rows.size), "threshold": threshold}
        labels[finding.name] = counts | {"prevalence": share(finding.positive)}
        labels[finding.name] |= {m: found["labels", finding.name, m] for m in MEASURES}
        if finding.against:
            labels[finding.name]["against"] = finding.against
    record["labels"] = labels
    normals = scope.rows[~table.abnormal[scope.rows]]
    rate, by_patient = found["false_alarms",], found["false_alarms", "by_patient"]
    counts = {"n": int(normals.size), "n_patients": int(np.unique(table.patient_index[normals]).size)}
    record["false_alarms"] = rate | {"by_patient": by_patient} | counts | judge(by_patient, promise)


def _false_alarms(table: PredictionTable, rows: Indices, threshold: float) -> Statistic:
    """Share of normal scans that are called abnormal, 1 - specificity, and its mean over patients.

    With a_p of patient p's n_p normal scans called abnormal: sum_p a_p / sum_p n_p, and mean_p a_p / n_p. The second is
    what a policy promises: the rate for one scan of a new patient. With one scan a patient they are the same.
    """
    normals = rows[~table.abnormal[rows]]
    patient = table.patient_index
    people, owner, count = np.unique(patient[normals], return_inverse=True, return_counts=True)
    alarm, part = table.decided(threshold)[normals].astype(np.float64), 1 / count[owner]
    columns = np.stack([alarm, np.ones_like(alarm), alarm * part, part], axis=1)
    sums = sum_by_patient(columns, patient[normals], int(patient.max()) + 1)

    def compute(weights: Floats) -> Floats:
        alarms, n, shares, patients = sums @ weights
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack([alarms / n, shares / patients])

    names = (("false_alarms",), ("false_alarms", "by_patient"))
    quantities = tuple(Quantity(name, "no normal rows", people.size) for name in names)
    return Statistic(quantities, people if people.size else np.unique(patient[rows]), compute)
