"""What `one_class` is measured by beyond the anomaly as such: each label against all normals, and false alarms."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.evaluate.estimates import Estimates, Quantity, Statistic
from pipeline.evaluate.groups import Scope
from pipeline.evaluate.metrics import METRICS, RankedScores, rank_scores, sum_by_patient
from pipeline.evaluate.one_versus_rest import one_versus_rest
from pipeline.evaluate.predictions import Flags, Floats, Indices, PredictionTable
from pipeline.evaluate.promise import Promise, judge

SPECIFICITY = 0.95
AT_SPECIFICITY = "sensitivity_at_95_specificity"


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
    patient, rows = table.patient_index, scope.class_rows[0]
    patients = int(patient.max()) + 1
    anomaly = table.classes[1]
    statistics = [
        _false_alarms(table, scope.rows, threshold),
        _at_specificity(("classes", anomaly), table.anomaly_score[rows], table.abnormal[rows], patient[rows]),
    ]
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
        statistics.append(_at_specificity(name, score, finding.positive, of))
    return statistics


def detection_record(
    record: dict[str, Any],
    table: PredictionTable,
    scope: Scope,
    found: Estimates,
    threshold: float,
    promise: Promise | None,
) -> None:
    """Add to a scope's record its labels, its false alarms, and how common anomalies are."""
    anomaly = record["classes"][table.classes[1]]
    anomaly["prevalence"] = _share(table.abnormal[scope.class_rows[0]])
    anomaly[AT_SPECIFICITY] = found["classes", table.classes[1], AT_SPECIFICITY]
    record["prevalence"] = _share(table.abnormal[scope.rows])
    labels: dict[str, Any] = {}
    for finding in findings(table, scope.rows):
        counts = {"support": finding.support, "n": int(finding.rows.size), "threshold": threshold}
        labels[finding.name] = counts | {"prevalence": _share(finding.positive)}
        labels[finding.name] |= {m: found["labels", finding.name, m] for m in (*METRICS, AT_SPECIFICITY)}
        if finding.against:
            labels[finding.name]["against"] = finding.against
    record["labels"] = labels
    normals = scope.rows[~table.abnormal[scope.rows]]
    rate, by_patient = found["false_alarms",], found["false_alarms", "by_patient"]
    counts = {"n": int(normals.size), "n_patients": int(np.unique(table.patient_index[normals]).size)}
    record["false_alarms"] = rate | {"by_patient": by_patient} | counts | judge(by_patient, promise)


def _share(flags: Flags) -> float:
    return round(float(flags.mean()), 6)


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


def _at_specificity(name: tuple[str, ...], score: Floats, positive: Flags, patient: Indices) -> Statistic:
    ranked = rank_scores(score, positive, patient)
    missing = "no positive rows" if not positive.any() else "no negative rows"
    quantity = Quantity((*name, AT_SPECIFICITY), missing, int(np.unique(patient[positive]).size))
    return Statistic((quantity,), np.unique(patient), lambda w: sensitivity_at_specificity(ranked, w)[None])


def sensitivity_at_specificity(ranked: RankedScores, weights: Floats, specificity: float = SPECIFICITY) -> Floats:
    """The largest sensitivity of any threshold whose specificity is at least the wanted one.

    max over the positives' scores t, and over calling nobody, of W+(score >= t) / W+ where
    W-(score >= t) / W- <= 1 - specificity; W+ and W- are weights of positive and negative rows.

    Args:
        ranked: From `rank_scores`.
        weights: Patient weights, shape (P, r).
        specificity: Least specificity, 0..1.

    Returns:
        Shape (r,), NaN where the positive or negative rows weigh nothing.
    """
    up, down = weights[ranked.positive], weights[ranked.negative]
    found = np.cumsum(up[::-1], axis=0)[::-1]  # of this positive row and all above it in order
    lower = np.concatenate([np.zeros((1, down.shape[1])), np.cumsum(down, axis=0)])
    all_up, all_down = up.sum(axis=0), lower[-1]
    allowed = all_down - lower[ranked.below] <= (1 - specificity) * all_down + 1e-9  # weights are whole numbers
    with np.errstate(invalid="ignore", divide="ignore"):
        best = np.where(allowed, found[ranked.first_tied], 0.0).max(axis=0, initial=0.0) / all_up
    return np.asarray(np.where((all_up == 0) | (all_down == 0), np.nan, best))
