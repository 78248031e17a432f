"""How often prediction sets hold the label, class by class, and how large they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.decide.prediction_sets import ClassLimit, SetRecord, Sets, calibrate_findings, calibrate_sets
from pipeline.evaluate.estimates import Estimates, Quantity, Statistic
from pipeline.evaluate.metrics import sum_by_patient
from pipeline.evaluate.predictions import Flags, Floats, Indices, PredictionTable
from pipeline.evaluate.promise import Promise, judge

SIZE = {
    "multiclass": "classes in a set, mean over scans",
    "multilabel": "answers (present, absent) in the set of a class, mean over scans and classes",
}
UNLIMITED = "too few patients calibrated it, so it is in every set and nothing is promised"


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """One answer whose coverage is measured.

    Attributes:
        name: Class, and `present` or `absent`.
        limit: Of the bundle.
        has: Which scans it is true of, shape (n,).
        held: In which scans' sets it is, shape (n,).
    """

    name: tuple[str, str]
    limit: ClassLimit
    has: Flags
    held: Flags


def table_sets(table: PredictionTable, level: float | None) -> SetRecord | None:
    """Prediction sets calibrated on a table; None for no level, and for `one_class`, whose scores are ranks."""
    if level is None or table.task == "one_class":
        return None
    calibrate = calibrate_findings if table.task == "multilabel" else calibrate_sets
    return calibrate(table.probability, table.truth, table.patient, classes=table.classes, level=level)


def answers(table: PredictionTable, record: SetRecord, sets: Sets) -> Iterator[Answer]:
    """Every answer: that a class is present; multilabel: that it is absent, too."""
    for c, (name, limit) in enumerate(record.present.items()):
        yield Answer((name, "present"), limit, table.truth[:, c] == 1, sets.present[:, c])
    for c, (name, limit) in enumerate(record.absent.items()):
        if sets.absent is not None:
            yield Answer((name, "absent"), limit, table.truth[:, c] == 0, sets.absent[:, c])


def set_statistic(table: PredictionTable, record: SetRecord, sets: Sets, rows: Indices) -> Statistic:
    """Coverage of each answer, each patient counted once, and the mean set size, over some rows.

    With h_p of patient p's n_p scans of which an answer is true holding it: mean_p h_p / n_p over the patients with
    any. That is what is promised: the chance for a scan of a new patient. With one scan a patient it is the share.
    """
    patient = table.patient_index
    patients = int(patient.max()) + 1
    columns, quantities = [], []
    for answer in answers(table, record, sets):
        has = np.zeros(table.n, bool)
        has[rows] = answer.has[rows]
        people, owner, count = np.unique(patient[has], return_inverse=True, return_counts=True)
        part = np.zeros(table.n)
        part[has] = 1 / count[owner]
        columns += [part * answer.held, part]
        missing = "no scan here has it" if answer.name[1] == "present" else "no scan here lacks it"
        quantities.append(Quantity(("coverage", *answer.name), missing, int(people.size)))
    labels = sets.size / (1 if sets.absent is None else len(record.present))
    columns += [labels, np.ones(table.n)]
    quantities.append(Quantity(("set_size",)))
    sums = sum_by_patient(np.stack(columns, axis=1)[rows], patient[rows], patients)

    def compute(weights: Floats) -> Floats:
        both = (sums @ weights).reshape(len(quantities), 2, -1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(both[:, 0] / both[:, 1])

    return Statistic(tuple(quantities), np.unique(patient[rows]), compute)


def set_record(
    table: PredictionTable, record: SetRecord, sets: Sets, rows: Indices, found: Estimates
) -> dict[str, Any]:
    """What metrics.json says of the sets of some rows."""
    classes: dict[str, dict[str, Any]] = {}
    for answer in answers(table, record, sets):
        here = rows[answer.has[rows]]
        counts = {"n": int(here.size), "n_patients": int(np.unique(table.patient_index[here]).size)}
        name, side = answer.name
        classes.setdefault(name, {})[side] = counts | _judged(found["coverage", name, side], answer.limit, record.level)
    told: dict[str, Any] = {"classes": classes, "set_size": found["set_size",]}
    if sets.absent is None:
        size, count = np.unique(sets.size[rows], return_counts=True)
        told["sizes"] = {str(one): int(many) for one, many in zip(size, count, strict=True)}
    return told


def _judged(coverage: dict[str, Any], limit: ClassLimit, level: float) -> dict[str, Any]:
    """Coverage beside what is promised: a set misses a new patient's scan with a probability of at most `level`."""
    told: dict[str, Any] = {"coverage": coverage, "calibrated_on": limit.patients, "limit": limit.limit}
    if limit.limit is None:
        return told | {"promised": None, "spread": None, "promise": None, "promise_reason": UNLIMITED}
    missed = {"low": None, "high": None, "reason": coverage.get("reason", "")}
    if coverage["low"] is not None:
        missed |= {"low": 1 - coverage["high"], "high": 1 - coverage["low"]}
    judged = judge(missed, Promise(level, limit.patients))
    spread = judged["spread"]
    if spread is not None:
        judged["spread"] = {"low": round(1 - spread["high"], 6), "high": round(1 - spread["low"], 6)}
    return told | judged | {"promised": round(1 - level, 6)}
