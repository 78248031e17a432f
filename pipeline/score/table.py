"""scores.csv: one row per series, and one per file or link that belongs to none."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.model_record import ModelRecord
from pipeline.scan import SeriesRef
from pipeline.score.outcome import Outcome
from pipeline.workspace import safe_cell, whole_file


def write_scores(
    path: Path, refs: Sequence[SeriesRef], done: Mapping[str, Outcome], record: ModelRecord, digest: str
) -> dict[str, int]:
    """Write scores.csv, sorted by source, then series_uid; series not done yet have no row.

    Args:
        path: The file; it appears whole, with mode 0600.
        refs: What ingest found.
        done: Content hash to result.
        record: The bundle's record: class names and threshold.
        digest: The bundle's digest.

    Returns:
        Status to number of rows.
    """
    columns = ["source", "series_uid", "status", "predicted", "anomaly_score"]
    columns += [f"p_{name}" for name in record.classes]
    columns += ["decision", "reason", "model"]
    counts: Counter[str] = Counter()
    with whole_file(path, private=True) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for ref in sorted(refs, key=lambda ref: (ref.source, ref.series_uid)):
            outcome = Outcome(ref.status, ref.reason) if ref.status != "ok" else done.get(ref.key)
            if outcome is None:
                continue
            counts[outcome.status] += 1
            writer.writerow(_row(ref, outcome, record, digest))
    return dict(counts)


def predicted_class(record: ModelRecord, outcome: Outcome) -> str:
    """The most probable class; of a detector, whose values are ranks, what it decided; empty unless scored."""
    probability = outcome.probability
    if not probability:
        return ""
    if record.detector is not None:
        return record.classes[int(outcome.abnormal)]
    return record.classes[max(range(len(probability)), key=probability.__getitem__)]


def _row(ref: SeriesRef, outcome: Outcome, record: ModelRecord, digest: str) -> list[str]:
    return [
        ref.source,
        safe_cell(ref.series_uid),
        outcome.status,
        safe_cell(predicted_class(record, outcome)),
        "" if outcome.anomaly_score is None else f"{outcome.anomaly_score:.4f}",
        *([f"{p:.4f}" for p in outcome.probability] or [""] * len(record.classes)),
        outcome.decision,
        safe_cell(outcome.reason),
        digest,
    ]
