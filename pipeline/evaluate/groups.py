"""Which rows stand for a site, a scanner or another group, and which group does worst."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluate.estimates import null
from pipeline.evaluate.predictions import Indices, PredictionTable

SMALL = 10  # patients: the figures of a smaller group could tell of one of them, and say nothing of the group
WITHHELD = f"withheld: fewer than {SMALL} patients, of whom one could be picked out"


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """Rows to measure.

    Attributes:
        rows: The rows themselves.
        class_rows: For each measured class, the rows its metrics are taken over: `rows`, and the rows of the other
            side where `rows` alone have but one label.
        against: For each measured class, what was added to `rows`; empty where nothing was.
    """

    rows: Indices
    class_rows: tuple[Indices, ...]
    against: tuple[str, ...]


def whole(table: PredictionTable) -> Scope:
    """All rows."""
    rows = np.arange(table.n)
    return Scope(rows, tuple(rows for _ in table.measured), tuple("" for _ in table.measured))


def group_scopes(table: PredictionTable) -> dict[tuple[str, str], Scope]:
    """One scope for each value of each grouping column, in sorted order."""
    return {
        (column, value): _group(table, np.flatnonzero(np.asarray(values) == value))
        for column, values in table.groups.items()
        for value in sorted(set(values))
    }


def _group(table: PredictionTable, rows: Indices) -> Scope:
    if (table.truth[rows] != table.truth[rows[0]]).any():
        return Scope(rows, tuple(rows for _ in table.measured), tuple("" for _ in table.measured))
    class_rows, against = [], []
    for c in table.measured:
        others = np.flatnonzero(table.truth[:, c] != table.truth[rows[0], c])
        side = "negative" if table.truth[rows[0], c] else "positive"
        class_rows.append(np.concatenate([rows, others]))
        against.append(f"all {others.size} {side} rows of the whole table" if others.size else "")
    return Scope(rows, tuple(class_rows), tuple(against))


def share(flags: npt.NDArray[Any]) -> float:
    """Share of rows that are so, such as a prevalence; 6 decimals."""
    return round(float(flags.mean()), 6)


def withhold(record: Mapping[str, Any]) -> dict[str, Any]:
    """A group's record without anything that its patients could be told from: its shape, reasons, and no number.

    Counts and figures are null, `n_patients_shown` says "<10", and which labels are there is not told. What the totals
    over all groups give away by subtraction stays.
    """
    return {**_emptied(record), "withheld": WITHHELD, "n_patients_shown": f"<{SMALL}"}


def _emptied(record: Mapping[str, Any]) -> dict[str, Any]:
    gone = ("against", "method", "resamples_left_out")
    emptied = {key: _nothing(key, value) for key, value in record.items() if key not in gone}
    return emptied | ({"promise_reason": WITHHELD} if "promise" in record else {})


def _nothing(key: str, value: Any) -> Any:
    if key.endswith("reason"):
        return WITHHELD
    if key == "definition":
        return value
    if isinstance(value, Mapping):
        numbers = null(WITHHELD) if "value" in value else {}
        return {} if key == "labels" else numbers | _emptied({k: v for k, v in value.items() if k not in numbers})
    return [] if isinstance(value, list | tuple) else None


def weakest_first(groups: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Groups by ascending macro AUROC; those without one last."""

    def place(item: tuple[str, Any]) -> tuple[bool, float]:
        auroc = item[1]["macro"]["auroc"]["value"]
        return auroc is None, auroc or 0.0

    return sorted(groups.items(), key=place)


def worst_group(groups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """The group with the lowest macro AUROC among those that have one, with its size.

    Args:
        groups: Column to value to the group's metrics, as in metrics.json.
    """
    found = [
        (group["macro"]["auroc"]["value"], column, name)
        for column, values in groups.items()
        for name, group in values.items()
        if group["macro"]["auroc"]["value"] is not None
    ]
    if not found:
        reason = "no group has a macro AUROC" if groups else "no grouping column"
        return {"column": None, "group": None, "metric": "macro.auroc", "value": None, "reason": reason}
    _, column, name = min(found)
    group = groups[column][name]
    size = {"n": group["n"], "n_patients": group["n_patients"]}
    return {"column": column, "group": name, "metric": "macro.auroc"} | dict(group["macro"]["auroc"]) | size
