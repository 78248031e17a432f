"""scores.csv: one row per series, and one per file or link that belongs to none."""

import csv
import io
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.model_record import ModelRecord
from pipeline.scan import SeriesRef
from pipeline.score.outcome import Outcome
from pipeline.workspace import safe_cell, whole_file


def write_scores(
    path: Path, refs: Iterable[SeriesRef], done: Mapping[str, Outcome], record: ModelRecord, digest: str
) -> dict[str, int]:
    """Write scores.csv, sorted by source, then series_uid; series not done yet have no row.

    Rows are made and written source by source, so that memory does not grow with them.

    Args:
        path: The file; it appears whole, with mode 0600.
        refs: What ingest found, in order of source.
        done: Content hash to result.
        record: The bundle's record: class names and threshold.
        digest: The bundle's digest.

    Returns:
        Status to number of rows.

    Raises:
        ValueError: If `refs` are out of order.
    """
    columns = ["source", "series_uid", "status", "predicted", "anomaly_score"]
    columns += [f"p_{name}" for name in record.classes]
    columns += ["decision", "reason", "model"]
    counts: Counter[str] = Counter()
    before = ""
    with whole_file(path, private=True) as file:
        file.write(csv_line(columns))
        for source, together in itertools.groupby(refs, key=lambda ref: ref.source):
            if source < before:
                raise ValueError("series out of order")
            before = source
            rows = []
            for ref in together:
                outcome = Outcome(ref.status, ref.reason) if ref.status != "ok" else done.get(ref.key)
                if outcome is not None:
                    counts[outcome.status] += 1
                    rows.append(_row(ref, outcome, record, digest))
            file.writelines(map(csv_line, sorted(rows, key=row_order)))
    return dict(counts)


def row_order(row: Sequence[str]) -> tuple[str, Sequence[str]]:
    """What rows are sorted by: source, then series_uid as written, then the rest."""
    return row[0], row[1:]


def csv_line(cells: Sequence[str]) -> str:
    """A line of CSV; a cell with a carriage return is quoted as one with a newline is, which `csv` does not do."""
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return f"{line.getvalue()[:-2]}\n"


def remove_torn(path: Path) -> None:
    """Remove what a kill left of a file that was being written, see `whole_file`; the caller holds its lock."""
    for torn in path.parent.glob(f".{path.name}.*.tmp"):
        torn.unlink(missing_ok=True)


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
