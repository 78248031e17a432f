"""Which scans are shown: per class those found most surely, and those missed worst."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.evaluate.predictions import Flags, Floats, PredictionTable

MOST = 4  # of each sort per class


@dataclass(frozen=True, slots=True)
class Choice:
    """The scans of one label.

    Attributes:
        label: As the page names it.
        hits: Rows of the table that were taken for what they are, the surest first.
        misses: Rows that were not, the furthest off first.
    """

    label: str
    hits: tuple[int, ...]
    misses: tuple[int, ...]


def choose(
    table: PredictionTable, thresholds: Mapping[str, float], anomaly_threshold: float, *, most: int = MOST
) -> list[Choice]:
    """At most `most` hits and misses of every label, each of another patient.

    A scan is a hit of its label if the label is its most probable class (`multiclass`), reaches its own threshold
    (`multilabel`), or if the decision is right (`one_class`, where each label of labels.csv stands apart).

    Args:
        table: Labels and predictions.
        thresholds: Class name to the probability from which it is called.
        anomaly_threshold: Anomaly score from which a scan is called abnormal.
        most: Scans of each sort.
    """
    return [
        Choice(
            label,
            _first(table, np.flatnonzero(has & right), -score, most),
            _first(table, np.flatnonzero(has & ~right), score, most),
        )
        for label, has, right, score in _labels(table, thresholds, anomaly_threshold)
    ]


def _labels(
    table: PredictionTable, thresholds: Mapping[str, float], anomaly_threshold: float
) -> Iterator[tuple[str, Flags, Flags, Floats]]:
    """Each label with the rows that have it, the rows that are called so, and how surely."""
    if table.task == "one_class":
        called = table.decided(anomaly_threshold)
        yield table.classes[0], ~table.abnormal, ~called, 1 - table.anomaly_score
        for name, has in (table.findings or {table.classes[1]: table.abnormal}).items():
            yield name, has, called, table.anomaly_score
        return
    best = table.probability.argmax(axis=1)
    for c, name in enumerate(table.classes):
        score = table.probability[:, c]
        right = best == c if table.task == "multiclass" else score >= thresholds.get(name, 0.5)
        yield name, table.truth[:, c] == 1, right, score


def _first(table: PredictionTable, rows: np.ndarray, order: Floats, most: int) -> tuple[int, ...]:
    """The first rows by ascending order, one of each patient; ties go by row."""
    by_patient: dict[str, int] = {}
    for row in rows[np.argsort(order[rows], kind="stable")]:
        by_patient.setdefault(table.patient[row], int(row))
        if len(by_patient) == most:
            break
    return tuple(by_patient.values())
