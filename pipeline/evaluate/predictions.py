"""The record that evaluation starts from: what was true and what was predicted, one row per scan."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import CohortError

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class PredictionTable:
    """Labels and predictions of n scans over L classes.

    Attributes:
        classes: L class names, the first is the normal class.
        task: `multiclass`, `multilabel` or `one_class` (then L = 2: normal and anomaly).
        truth: 0/1 indicator, shape (n, L); several ones in a row only in `multilabel`.
        probability: Calibrated probabilities, shape (n, L), 0..1.
        uncalibrated: Probabilities before calibration, shape (n, L), 0..1.
        anomaly_score: 0..1, shape (n,); higher is less normal.
        patient: n keyed pseudonyms; the unit that is resampled.
        groups: Column name to n values, such as `{"site": ("north", ...)}`.
        random_probability: Probabilities of the same head on randomly initialised weights, shape (n, L).
        random_reason: Why `random_probability` is absent.
        labels: `one_class`: each scan's label as labels.csv has it, several separated by `|`; empty elsewhere.
        called: Whether a scan is called abnormal, shape (n,), where something other than a threshold on
            `anomaly_score` decides, as an exact conformal p-value does; None where the threshold does.
    """

    classes: tuple[str, ...]
    task: Literal["multiclass", "multilabel", "one_class"]
    truth: npt.NDArray[np.int8]
    probability: Floats
    uncalibrated: Floats
    anomaly_score: Floats
    patient: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    random_probability: Floats | None = None
    random_reason: str = ""
    labels: tuple[str, ...] = ()
    called: Flags | None = None

    def __post_init__(self) -> None:
        shape = (len(self.patient), len(self.classes))
        if not self.patient:
            raise CohortError("no predictions to measure: the table has no rows")
        tables: dict[str, npt.NDArray[Any]] = {
            "truth": self.truth,
            "probability": self.probability,
            "uncalibrated": self.uncalibrated,
        }
        if self.random_probability is not None:
            tables["random_probability"] = self.random_probability
        for name, table in tables.items():
            if table.shape != shape:
                raise CohortError(f"{name}: shape {table.shape}, expected {shape} (rows, classes)")
        columns = {"anomaly_score": len(self.anomaly_score)} | {c: len(v) for c, v in self.groups.items()}
        columns |= {"labels": len(self.labels)} if self.labels else {}
        columns |= {} if self.called is None else {"called": len(self.called)}
        for name, rows in columns.items():
            if rows != shape[0]:
                raise CohortError(f"{name}: {rows} rows, expected {shape[0]}")
        for name, table in (tables | {"anomaly_score": self.anomaly_score}).items():
            if not np.isfinite(table).all():
                raise CohortError(f"{name}: holds a value that is not finite")

    @property
    def n(self) -> int:
        """Number of scans."""
        return len(self.patient)

    @property
    def patient_index(self) -> Indices:
        """Each row's patient as a number from 0, shape (n,), in order of first appearance.

        The order must not depend on the pseudonyms, whose key differs between workspaces, or resamples would too.
        """
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(patient, len(numbers)) for patient in self.patient], dtype=np.intp)

    @property
    def measured(self) -> tuple[int, ...]:
        """Columns that are measured one versus rest: all classes; for `one_class` the anomaly alone."""
        return tuple(range(1 if self.task == "one_class" else 0, len(self.classes)))

    @property
    def abnormal(self) -> Flags:
        """Whether a scan has any class but the first, shape (n,)."""
        return np.asarray(self.truth[:, 1:].any(axis=1))

    @property
    def findings(self) -> dict[str, Flags]:
        """Which rows have each label but the normal one, shape (n,) each, by name; empty without `labels`."""
        each = [set(cell.split("|")) for cell in self.labels]
        names = sorted(set[str]().union(*each) - {self.classes[0], ""})
        return {name: np.array([name in row for row in each]) for name in names}

    def decided(self, threshold: float) -> Flags:
        """Which scans are called abnormal, shape (n,): `called` where it is given, else anomaly score >= threshold."""
        return np.asarray(self.anomaly_score >= threshold) if self.called is None else self.called
