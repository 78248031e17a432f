"""What was measured of each backbone, and which two are worth adapting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import WeightsNotFoundError
from pipeline.learn.cross_probe import mean_and_error
from pipeline.learn.folds import Fold

RULE = (
    "first the best mean AUROC, unless a backbone with fewer features lies within one standard error of the paired "
    "difference; the best mean is always one of the two"
)


@dataclass(frozen=True, slots=True)
class BackboneRow:
    """One backbone, measured or not.

    Attributes:
        backbone: Registry name, cut where its weights end.
        weights: Where the weights came from.
        reason: Why it could not be measured; empty where it was.
        num_features: F.
        parameters: Number of weights of the backbone.
        auroc, error: Mean macro AUROC of the probe over folds and repeats, and its standard error.
        folds: The AUROC on each fold, NaN where it has none; the same folds for all backbones.
        logme, h_score, leep: Transferability scores (regularised H-score), which decide nothing.
        scores_reason: Why scores are absent, such as a weights file without classifier.
        seconds: Wall time of features and probe; little where the features were in the cache.
    """

    backbone: str
    weights: str = ""
    reason: str = ""
    num_features: int = 0
    parameters: int = 0
    auroc: float = math.nan
    error: float = math.nan
    folds: tuple[float, ...] = ()
    logme: float | None = None
    h_score: float | None = None
    leep: float | None = None
    scores_reason: str = ""
    seconds: float = 0.0

    @property
    def measured(self) -> bool:
        """Whether it has an AUROC."""
        return not self.reason

    def to_json(self) -> dict[str, Any]:
        """The row for result.json; a number that cannot be had is null."""
        record: dict[str, Any] = {"backbone": self.backbone, "weights": self.weights, "reason": self.reason}
        if self.measured:
            record |= {"num_features": self.num_features, "parameters": self.parameters}
            for name in ("auroc", "error", "logme", "h_score", "leep", "seconds"):
                value = getattr(self, name)
                record[name] = round(value, 6) if value is not None and math.isfinite(value) else None
            record["folds"] = [round(value, 6) if math.isfinite(value) else None for value in self.folds]
            record["scores_reason"] = self.scores_reason
        return record


@dataclass(frozen=True, slots=True)
class BackboneChoice:
    """The ranking and the two that are worth adapting.

    Attributes:
        first, second: Rows of the two; `second` is None where only one could be measured.
        rows: All rows, measured ones first, from best to worst AUROC.
        repeats: How often the cross-validation was repeated.
    """

    first: BackboneRow
    second: BackboneRow | None
    rows: tuple[BackboneRow, ...]
    repeats: int

    def to_json(self) -> dict[str, Any]:
        """The record for result.json and the report; no identity in it."""
        return {
            "first": self.first.backbone,
            "second": self.second.backbone if self.second else None,
            "rule": RULE,
            "repeats": self.repeats,
            "rows": [row.to_json() for row in self.rows],
        }


def choose(rows: Sequence[BackboneRow], folds: Sequence[Fold]) -> tuple[BackboneRow, BackboneRow | None]:
    """The two backbones to adapt.

    A backbone is level with the best if their paired difference over the same folds is at most its standard error (see
    `mean_and_error`). Of those that are level, the one with the fewest features goes first, then the one with fewest
    weights. Features, not seconds, decide: fewer of them leave a head with less to overfit on few labels and a smaller
    bundle; they are the same in every run, while the time depends on what the cache holds and what else runs. The
    second is the best mean if it is not the first already; otherwise the same rule is used on the rest. So the best
    mean is always among the two.

    Args:
        rows: At least one measured; rows that were not are passed over.
        folds: Of all rows.

    Raises:
        WeightsNotFoundError: If none was measured; with each one's reason.
    """
    measured = ranked([row for row in rows if row.measured])
    if not measured:
        reasons = "; ".join(f"{row.backbone}: {row.reason}" for row in rows) or "none has weights on this machine"
        raise WeightsNotFoundError(f"backbone auto: no backbone could be measured ({reasons})")
    first = _smallest_level(measured, folds)
    rest = [row for row in measured if row is not first]
    if not rest:
        return first, None
    return first, rest[0] if rest[0] is measured[0] else _smallest_level(rest, folds)


def ranked(rows: Sequence[BackboneRow]) -> list[BackboneRow]:
    """Measured rows from best to worst mean, then the others by name; equal ones by size and name."""
    return sorted(rows, key=lambda row: (not row.measured, -row.auroc if row.measured else 0.0, *_size(row)))


def _smallest_level(rows: Sequence[BackboneRow], folds: Sequence[Fold]) -> BackboneRow:
    best = rows[0]
    return min((row for row in rows if _is_level(row, best, folds)), key=_size)


def _is_level(row: BackboneRow, best: BackboneRow, folds: Sequence[Fold]) -> bool:
    mean, error = mean_and_error(tuple(np.subtract(best.folds, row.folds).tolist()), folds)
    return row is best or mean <= (error if math.isfinite(error) else 0.0)


def _size(row: BackboneRow) -> tuple[int, int, str]:
    return row.num_features, row.parameters, row.backbone
