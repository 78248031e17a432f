"""The scans that two validations share, and whether they may be compared scan by scan."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pipeline.errors import RefusedError
from pipeline.evaluate.compare.read import Validated
from pipeline.evaluate.predictions import Indices, PredictionTable

LEAST_SCANS, LEAST_PATIENTS = 20, 10
SAME = "validate both models with the same labels.csv"


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two validations of the same scans, rows in the same order.

    Attributes:
        a, b: As they were read, with all their scans.
        first, second: Labels and predictions of A and B of the scans they share; labels and patients are the same.
    """

    a: Validated
    b: Validated
    first: PredictionTable
    second: PredictionTable


def match(a: Validated, b: Validated) -> Pair:
    """Find the scans that two validations share, by Series Instance UID; by source as well where a UID repeats.

    Pseudonyms of two workspaces differ, and need not agree: what must agree is which scans share a patient.

    Raises:
        RefusedError: If tasks, classes, labels or patients do not agree, or fewer than 20 scans of 10 patients are
            in both.
    """
    if a.task != b.task:
        raise RefusedError(f"A is of task {a.task} and B of {b.task}; compare two models of one task")
    if sorted(a.classes) != sorted(b.classes) or a.classes[0] != b.classes[0]:
        known = f"{', '.join(a.classes)} in A, {', '.join(b.classes)} in B"
        raise RefusedError(f"the classes differ ({known}); compare two models of the same classes, normal first")
    rows_a, rows_b = _shared(a, b)
    patients = len({a.patient[row] for row in rows_a})
    if rows_a.size < LEAST_SCANS or patients < LEAST_PATIENTS:
        raise RefusedError(
            f"{rows_a.size} scans of {patients} patients are in both A ({a.n} scans) and B ({b.n} scans), at least "
            f"{LEAST_SCANS} scans of {LEAST_PATIENTS} patients are needed; {SAME}"
        )
    differ = sum(a.labels[i] != b.labels[j] for i, j in zip(rows_a, rows_b, strict=True))
    if differ:
        raise RefusedError(f"{differ} of {rows_a.size} scans have another label in B than in A; {SAME}")
    pairs = {(a.patient[i], b.patient[j]) for i, j in zip(rows_a, rows_b, strict=True)}
    if not len(pairs) == patients == len({b.patient[row] for row in rows_b}):
        raise RefusedError(f"A and B do not agree on which scans are of one patient; {SAME}")
    return Pair(a, b, _table(a, rows_a, a, rows_a), _table(b, rows_b, a, rows_a))


def _shared(a: Validated, b: Validated) -> tuple[Indices, Indices]:
    """Rows of A and of B that are of one scan, in A's order."""
    counts = [Counter(uid for uid, _ in side.series) for side in (a, b)]

    def key(uid: str, source: str) -> tuple[str, str]:
        return (uid, "") if uid and max(count[uid] for count in counts) == 1 else (uid, source)

    places: list[dict[tuple[str, str], int]] = []
    for side in (a, b):
        known = {key(*series): row for row, series in enumerate(side.series)}
        if len(known) < side.n:
            raise RefusedError(f"{side.n - len(known)} scans of {side.name} have the series_uid and source of another")
        places.append(known)
    both = [(row, places[1][name]) for name, row in places[0].items() if name in places[1]]
    rows = np.array(both, dtype=np.intp).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def _table(side: Validated, rows: Indices, labelled: Validated, labelled_rows: Indices) -> PredictionTable:
    """Predictions of one side, with labels, patients and the order of classes of the other."""
    classes = labelled.classes
    names = [labelled.labels[row] for row in labelled_rows]
    if side.task == "one_class":
        truth = np.array([[label <= {classes[0]}, not label <= {classes[0]}] for label in names])
    else:
        truth = np.array([[name in label for name in classes] for label in names])
    columns = np.array([side.classes.index(name) for name in classes])
    probability = side.probability[rows][:, columns]
    return PredictionTable(
        classes=classes,
        task=side.task,
        truth=truth.astype(np.int8),
        probability=probability,
        uncalibrated=probability,
        anomaly_score=side.anomaly_score[rows],
        patient=tuple(labelled.patient[row] for row in labelled_rows),
        groups={},
        called=side.called[rows],
    )
