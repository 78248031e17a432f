"""A validation's folder, read back: its scores scan by scan, and the thresholds that were in use."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from pipeline.config import Task
from pipeline.errors import SourceError
from pipeline.evaluate.predictions import Flags, Floats
from pipeline.workspace import SPREADSHEET

HOW = "give the folder that `scanshift validate -o` wrote"
COLUMNS = ("source", "series_uid", "label", "anomaly_score", "decision", "patient")


@dataclass(frozen=True, slots=True, eq=False)
class Validated:
    """What one validation said of n scans.

    Attributes:
        name: `A` or `B`.
        bundle: Digest of the bundle; empty where metrics.json does not tell.
        task: Task of the bundle.
        classes: L class names, the first is the normal class.
        series: Series Instance UID and source of each scan.
        labels: Class names of each scan.
        probability: Shape (n, L).
        anomaly_score: Shape (n,).
        called: Which scans the policy calls abnormal, also where they are referred, shape (n,).
        patient: Each scan's pseudonym; what matters is which scans share one.
        thresholds: Class to the probability from which it is called; None where it has none.
        anomaly_threshold: Anomaly score from which a scan is called abnormal.
    """

    name: str
    bundle: str
    task: Task
    classes: tuple[str, ...]
    series: tuple[tuple[str, str], ...]
    labels: tuple[frozenset[str], ...]
    probability: Floats
    anomaly_score: Floats
    called: Flags
    patient: tuple[str, ...]
    thresholds: Mapping[str, float]
    anomaly_threshold: float

    @property
    def n(self) -> int:
        """Number of scans."""
        return len(self.series)


def read_validated(folder: Path, name: str) -> Validated:
    """Read predictions.csv and metrics.json of a validation.

    Args:
        folder: What `validate -o` wrote.
        name: `A` or `B`.

    Raises:
        SourceError: If a file is missing, or not as this version writes it.
    """
    metrics, task = _metrics(folder / "metrics.json")
    path = folder / "predictions.csv"
    rows = _rows(path)
    classes = tuple(column.removeprefix("p_") for column in rows[0] if column.startswith("p_"))
    known = frozenset(classes) if task != "one_class" else frozenset[str]()
    return Validated(
        name=name,
        bundle=str(metrics.get("bundle", "")),
        task=task,
        classes=classes,
        series=tuple((_plain(row["series_uid"]), row["source"]) for row in rows),
        labels=tuple(_labels(path, line, row["label"], known) for line, row in enumerate(rows, start=2)),
        probability=np.stack([_numbers(path, rows, f"p_{c}") for c in classes], axis=1),
        anomaly_score=_numbers(path, rows, "anomaly_score"),
        called=np.array([row.get("called", row["decision"]) == "anomaly" for row in rows]),
        patient=tuple(row["patient"] for row in rows),
        thresholds={c: of["threshold"] for c, of in metrics["classes"].items() if of["threshold"] is not None},
        anomaly_threshold=float(metrics["anomaly"]["threshold"]),
    )


def _metrics(path: Path) -> tuple[dict[str, Any], Task]:
    """The content of metrics.json and its task, with what is needed of it checked."""
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        thresholds = [of["threshold"] for of in metrics["classes"].values()]
        thresholds.append(float(metrics["anomaly"]["threshold"]))
        if metrics["task"] not in get_args(Task) or any(isinstance(t, str) for t in thresholds):
            raise ValueError(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read; {HOW}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{path}: not the metrics of a validation; {HOW}") from error
    return metrics, metrics["task"]


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            columns = list(reader.fieldnames or [])
            rows = [dict(row) for row in reader]
    except OSError as error:
        raise SourceError(f"{path}: cannot be read; {HOW}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: not a table of predictions; {HOW}") from error
    absent = [column for column in COLUMNS if column not in columns]
    if absent == ["patient"]:
        raise SourceError(f"{path}: no column patient, so it is of an older version; validate again with this one")
    if absent or sum(column.startswith("p_") for column in columns) < 2:
        raise SourceError(f"{path}: no column {(*absent, 'p_<class>')[0]}; {HOW}")
    if not rows or any(None in row or None in row.values() or not row["patient"] for row in rows):
        raise SourceError(f"{path}: no rows, or a row with a cell missing or too many; {HOW}")
    return rows


def _numbers(path: Path, rows: Sequence[Mapping[str, str]], column: str) -> Floats:
    """A column of numbers 0..1."""
    values = []
    for line, row in enumerate(rows, start=2):
        try:
            value = float(row[column])
        except ValueError:
            value = np.nan
        if not 0 <= value <= 1:
            raise SourceError(f"{path}, line {line}: {column} is not a number within 0..1")
        values.append(value)
    return np.array(values)


def _labels(path: Path, line: int, cell: str, known: frozenset[str]) -> frozenset[str]:
    """Class names of a cell; any where none is `known`."""
    for text in (cell, _plain(cell)):
        names = frozenset(text.split("|"))
        if names <= known or not known:
            return names
    raise SourceError(f"{path}, line {line}: its label is none of the classes")


def _plain(cell: str) -> str:
    """A cell without the apostrophe that keeps spreadsheets from taking it for a formula."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in SPREADSHEET else cell
