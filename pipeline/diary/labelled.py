"""How well probabilities held on nights whose scans have labels by now."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from pipeline.evaluate.predictions import PredictionTable
from pipeline.evaluate.reliability import brier_by_row, claims, gaps_by_row
from pipeline.learn.plan import find_series
from pipeline.model_record import ModelRecord
from pipeline.prepare.cohort import join_series
from pipeline.prepare.labels import read_labels
from pipeline.score.outcome import Outcome
from pipeline.watch import Watch
from pipeline.workspace import Workspace

FEWEST = 20

Labelled = Sequence[tuple[tuple[str, ...], Outcome]]


def labels_by_key(path: Path, record: ModelRecord, workspace: Workspace, watch: Watch) -> dict[str, tuple[str, ...]]:
    """Content key to labels of every labelled, readable row of a labels.csv; files that are gone are left out.

    Raises:
        LabelsError, SourceError: If it cannot be used.
    """
    rows = read_labels(path, label_column=record.config.label_column, task=record.task, files_needed=False)
    there = [row for row in rows if not row.path or Path(row.path).exists()]
    joined = join_series(path, there, find_series(there, workspace, watch), missing_ok=True) if there else []
    if gone := len(rows) - len(joined):
        watch.note(f"labels: {gone} of {len(rows)} lines name scans that are not there (any more)")
    return {ref.key: row.labels for row, ref in joined if ref.status == "ok" and row.labels}


def calibration(found: Labelled, record: ModelRecord) -> dict[str, Any]:
    """Brier score, ECE (15 bins of equal width) and AUROC of normal against not, of scored scans with a label.

    Returns:
        `scans`, `brier`, `ece`, `auroc`; a figure that cannot be computed is None, and `reason` says why.
    """
    known = [(labels, one) for labels, one in found if one.status == "scored" and _known(labels, record)]
    told: dict[str, Any] = {"scans": len(known), "brier": None, "ece": None, "auroc": None, "reason": ""}
    if len(known) < FEWEST:
        return told | {"reason": f"{len(known)} labelled scans; at least {FEWEST} are needed"}
    normal = record.classes[0]
    abnormal = np.array([labels != (normal,) for labels, _ in known])
    scores = np.array([one.anomaly_score for _, one in known], np.float64)
    if abnormal.all() or not abnormal.any():
        told["reason"] = "all labels are on one side, so there is no AUROC"
    else:
        told["auroc"] = round(float(roc_auc_score(abnormal, scores)), 4)
    if record.detector is not None:
        return told | {"reason": told["reason"] or "a detector gives ranks, no probabilities to calibrate"}
    table = _table(known, scores, record)
    gaps = gaps_by_row(claims(table, table.probability)).sum(axis=0)
    brier = brier_by_row(table, table.probability).mean()
    return told | {"brier": round(float(brier), 4), "ece": round(float(np.abs(gaps).sum() / table.n), 4)}


def _known(labels: Sequence[str], record: ModelRecord) -> bool:
    return record.task == "one_class" or set(labels) <= set(record.classes)


def _table(known: Labelled, scores: Any, record: ModelRecord) -> PredictionTable:
    truth = np.array([[name in labels for name in record.classes] for labels, _ in known], np.int8)
    probability = np.array([one.probability for _, one in known], np.float64)
    return PredictionTable(
        classes=record.classes,
        task=record.task,
        truth=truth,
        probability=probability,
        uncalibrated=probability,
        anomaly_score=scores,
        patient=tuple(str(n) for n in range(len(known))),
        groups={},
    )


def of_names(labels: Mapping[str, tuple[str, ...]], outcomes: Mapping[str, Outcome]) -> Labelled:
    """Labels beside outcomes, both by content key; only what both know."""
    return [(labels[key], outcomes[key]) for key in sorted(set(labels) & set(outcomes))]
