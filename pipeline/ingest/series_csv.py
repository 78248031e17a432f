"""series.csv and quarantine.csv: the user's own tables of what was read and what was not (mode 0600)."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.scan import SeriesRef
from pipeline.workspace import safe_cell, whole_file

SERIES_COLUMNS = ("source", "series_uid", "status", "reason", "modality", "shape", "geometry", "inverted", "file")
NUMBERED_COLUMNS = ("number", *SERIES_COLUMNS[:-1])
QUARANTINE_COLUMNS = ("source", "series_uid", "status", "reason", "modality")
UNESCAPED = frozenset({"source", "file"})


@dataclass(frozen=True, slots=True)
class Row:
    """One line of series.csv.

    Attributes:
        source, series_uid, status, reason, modality: As in `SeriesRef`.
        shape: Voxels (I, J, K); empty where unknown.
        geometry: `patient`, `none` or empty where unknown.
        inverted: Whether a radiograph's polarity was turned.
        file: NIfTI file written, relative to the folder of series.csv; empty where there is none.
    """

    source: str
    series_uid: str
    status: str
    reason: str = ""
    modality: str = ""
    shape: tuple[int, ...] = ()
    geometry: str = ""
    inverted: bool = False
    file: str = ""


def row_of(ref: SeriesRef) -> Row:
    """The line of a series that was not converted, or not yet."""
    return Row(
        source=ref.source,
        series_uid=ref.series_uid,
        status=ref.status,
        reason=ref.reason,
        modality=ref.modality,
        shape=ref.shape,
        geometry=ref.geometry,
    )


def write_series_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write series.csv, sorted by source and series_uid."""
    ordered = sorted(rows, key=lambda row: (row.source, row.series_uid))
    _write(path, SERIES_COLUMNS, [_cells(row) for row in ordered])


def write_numbered_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write the series in the order given, counted from 1: what each number of a page without identity stands for."""
    lines = [{"number": str(number), **_cells(row)} for number, row in enumerate(rows, start=1)]
    _write(path, NUMBERED_COLUMNS, lines)


def write_quarantine_csv(path: Path, refs: Iterable[SeriesRef]) -> None:
    """Write the refused series and files, with the reason of each."""
    refused = sorted((ref for ref in refs if ref.status == "refused"), key=lambda ref: (ref.source, ref.series_uid))
    _write(path, QUARANTINE_COLUMNS, [_cells(row_of(ref)) for ref in refused])


def _cells(row: Row) -> dict[str, str]:
    return {
        "source": row.source,
        "series_uid": row.series_uid,
        "status": row.status,
        "reason": row.reason,
        "modality": row.modality,
        "shape": "x".join(str(size) for size in row.shape),
        "geometry": row.geometry,
        "inverted": "true" if row.inverted else "false",
        "file": row.file,
    }


def _write(path: Path, columns: Sequence[str], lines: Iterable[dict[str, str]]) -> None:
    with whole_file(path, private=True) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        for line in lines:
            table.writerow([line[c] if c in UNESCAPED else safe_cell(line[c]) for c in columns])
