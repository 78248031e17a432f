"""One side of a comparison: the scans of a hospital, a period or a scanner, as the network sees them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pipeline.errors import ShiftError
from pipeline.evaluate.predictions import Floats, Indices

HeaderValue = float | str | None

FEW_PATIENTS = 5  # whose values are not told apart
OTHER, ABSENT = "(other)", "(missing)"


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """Features, and where there are some logits, labels and header fields, of n scans.

    Attributes:
        features: Pooled features of the encoder, shape (n, F), float32.
        logits: Outputs of the head, shape (n, L), or None without a head. They must come from scans that the head
            was not trained on: on its own training scans a network is surer than anywhere else.
        truth: 0/1 indicators, shape (n, L), or None where labels are missing.
        patients: n pseudonyms; scans of one patient stay together. An empty one is a patient of its own.
        headers: Field name to n values: numbers, words, or None where the field is missing.

    Raises:
        ShiftError: Lengths that disagree, or numbers that are not finite.
    """

    features: npt.NDArray[np.float32]
    logits: npt.NDArray[np.floating] | None
    truth: npt.NDArray[np.number] | None
    patients: tuple[str, ...]
    headers: Mapping[str, tuple[HeaderValue, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, table in (("features", self.features), ("logits", self.logits), ("truth", self.truth)):
            if table is not None:
                _check_table(name, table, len(self.patients))
        if self.logits is not None and self.truth is not None and self.logits.shape != self.truth.shape:
            raise ShiftError(f"logits have shape {self.logits.shape}, truth {self.truth.shape}; they must agree")
        if self.truth is not None and not np.isin(self.truth, (0, 1)).all():
            raise ShiftError("truth holds values other than 0 and 1; it must be an indicator of each class")
        for name, values in self.headers.items():
            if len(values) != self.n:
                raise ShiftError(f"header field {name}: {len(values)} values, expected {self.n}, one per scan")

    @property
    def n(self) -> int:
        """Number of scans."""
        return len(self.patients)

    @property
    def units(self) -> Indices:
        """The patient of each scan as a number 0..P-1, shape (n,)."""
        return patient_codes(self.patients)

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return int(self.units.max()) + 1 if self.n else 0

    def take(self, rows: Sequence[int] | Indices) -> "Domain":
        """The scans at `rows`, in that order."""
        chosen = np.asarray(rows, dtype=np.intp)
        return replace(
            self,
            features=self.features[chosen],
            logits=None if self.logits is None else self.logits[chosen],
            truth=None if self.truth is None else self.truth[chosen],
            patients=tuple(self.patients[i] for i in chosen),
            headers={name: tuple(values[i] for i in chosen) for name, values in self.headers.items()},
        )


def patient_codes(patients: Sequence[str]) -> Indices:
    """Patients as numbers 0..P-1 in the order of their names; each empty name is a patient of its own."""
    names = np.array([name or f"\0{row}" for row, name in enumerate(patients)], dtype=object)
    return np.unique(names, return_inverse=True)[1].astype(np.intp)


def one_scan_each(units: Indices, seed: int) -> Indices:
    """One row of every patient, drawn at random; shape (P,), ascending.

    Tests that take rows as independent (Kolmogorov-Smirnov, chi-squared) see one scan of each patient: several
    would count one patient's findings as so many patients.
    """
    shuffled = np.random.default_rng(seed).permutation(units.size)
    return np.sort(shuffled[np.unique(units[shuffled], return_index=True)[1]])


def _check_table(name: str, table: npt.NDArray[np.number], n: int) -> None:
    if table.ndim != 2:
        raise ShiftError(f"{name} has {table.ndim} axes, expected 2: scans and columns")
    if len(table) != n:
        raise ShiftError(f"{name} has {len(table)} rows, expected {n}, one per patient entry")
    if not np.isfinite(table).all():
        raise ShiftError(f"{name} holds values that are not finite; every scan must have its numbers")


__all__ = ["Domain", "Floats", "HeaderValue", "Indices", "one_scan_each", "patient_codes"]
