"""Reading and writing labels.csv, as Excel writes it too."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pipeline.config import Config, Task
from pipeline.errors import LabelsError, SourceError
from pipeline.prepare.split import Split
from pipeline.workspace import safe_cell

NORMAL_NAMES = ("normal", "healthy", "no finding", "no_finding", "negative", "control", "good")
SPLITS = get_args(Split)
SHOWN = 5


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One row of labels.csv.

    Attributes:
        line: Line number in the file, counted from 1, for messages.
        path: File or folder of one series, absolute; empty where `series_uid` names it.
        series_uid: Series Instance UID; empty where `path` names it.
        labels: Class names; empty means unlabelled.
        patient: Patient id as written; empty if the file has none.
        split: `train`, `val`, `test`, or empty.
        columns: All further columns by name, `site` among them.
    """

    line: int
    path: str
    series_uid: str
    labels: tuple[str, ...]
    patient: str
    split: str
    columns: tuple[tuple[str, str], ...]

    def column(self, name: str) -> str:
        """A further column's cell; empty if there is none."""
        return dict(self.columns).get(name, "")


def read_labels(
    path: Path, *, label_column: str = "label", task: Task = "multiclass", files_needed: bool = True
) -> list[LabelRow]:
    """Read labels.csv: UTF-8 (with or without BOM), UTF-16 or Windows-1252; comma, semicolon or tab.

    Args:
        path: The file.
        label_column: Where labels stand, if not in `label`.
        task: More than one label a row is for `multilabel`.
        files_needed: Whether a file that a row names has to be there.

    Raises:
        SourceError: If the file is missing or unreadable.
        LabelsError: If columns are missing, a path does not exist, rows repeat, or a cell makes no sense.
    """
    header, rows = _table(path)
    if "path" not in header and "series_uid" not in header:
        raise LabelsError(f"{path}: needs a column `path` (or `series_uid`); found {', '.join(header)}")
    if label_column not in header and "label" not in header:
        raise LabelsError(f"{path}: needs a column `{label_column}`; found {', '.join(header)}")
    parsed = [_row(path.parent, line, row, label_column, task) for line, row in rows]
    if not parsed:
        raise LabelsError(f"{path}: no rows below the header")
    _check_rows(path, parsed, files_needed=files_needed)
    return parsed


def _table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or 'cannot be read'}") from error
    text = _decode(raw)
    if "\0" in text:
        raise LabelsError(f"{path}: not a text file; save it as CSV")
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    try:
        lines = [[_cell(text) for text in line] for line in csv.reader(io.StringIO(text), delimiter=delimiter)]
    except csv.Error as error:
        raise LabelsError(f"{path}: not readable as CSV ({error})") from error
    if not lines or not any(lines[0]):
        raise LabelsError(f"{path}: no header row")
    header = lines[0]
    while header and not header[-1]:
        header = header[:-1]
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise LabelsError(f"{path}: column `{twice[0]}` stands twice")
    rows: list[tuple[int, dict[str, str]]] = []
    for number, cells in enumerate(lines[1:], start=2):
        if not any(cells):
            continue
        if any(cells[len(header) :]):
            raise LabelsError(f"{path}, line {number}: {len(cells)} cells, expected {len(header)}")
        named = zip(header, cells + [""] * len(header), strict=False)
        rows.append((number, {name: cell for name, cell in named if name}))
    return header, rows


def _cell(text: str) -> str:
    """A cell without blanks around it, and without the apostrophe of `safe_cell`."""
    bare = text.strip()
    return bare[1:] if bare[:1] == "'" and safe_cell(bare[1:]) == bare else bare


def _decode(raw: bytes) -> str:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def _row(folder: Path, line: int, cells: dict[str, str], label_column: str, task: Task) -> LabelRow:
    text = cells.get(label_column, "") or cells.get("label", "")
    labels = tuple(dict.fromkeys(part.strip() for part in text.split("|") if part.strip()))
    if len(labels) > 1 and task != "multilabel":
        raise LabelsError(f"line {line}: several labels in one cell, but task is {task}; set task=multilabel")
    split = cells.get("split", "").lower()
    if split and split not in SPLITS:
        raise LabelsError(f"line {line}: split {split!r}, expected one of {', '.join(SPLITS)} or an empty cell")
    name = cells.get("path", "").replace("\\", "/")
    uid = cells.get("series_uid", "")
    if not name and not uid:
        raise LabelsError(f"line {line}: neither path nor series_uid")
    used = {"path", "series_uid", "label", "patient", "split", label_column}
    further = {key: value for key, value in cells.items() if key not in used}
    if label_column != "label":
        further["label"] = cells.get("label", "")
    return LabelRow(
        line=line,
        path=str((folder / name).resolve()) if name else "",
        series_uid="" if name else uid,
        labels=labels,
        patient=cells.get("patient", ""),
        split=split,
        columns=tuple(further.items()),
    )


def _check_rows(path: Path, rows: Sequence[LabelRow], *, files_needed: bool) -> None:
    seen: dict[str, int] = {}
    for row in rows:
        key = row.path or row.series_uid
        if key in seen:
            raise LabelsError(f"{path}: lines {seen[key]} and {row.line} name the same series")
        seen[key] = row.line
    missing = [row.line for row in rows if files_needed and row.path and not Path(row.path).exists()]
    if missing:
        shown = ", ".join(map(str, missing[:SHOWN])) + (", ..." if len(missing) > SHOWN else "")
        word = "names a file that is" if len(missing) == 1 else f"({len(missing)} of them) name files that are"
        raise LabelsError(f"{path}: line{'s' if len(missing) > 1 else ''} {shown} {word} not there")


def resolve_classes(rows: Sequence[LabelRow], config: Config) -> tuple[str, ...]:
    """The class names, the normal one first.

    Raises:
        LabelsError: If a label is not in `classes`, or the normal class cannot be told.
    """
    found = sorted({label for row in rows for label in row.labels})
    if not found:
        raise LabelsError("no row has a label")
    if config.classes and config.task == "one_class":  # whatever else a label says, it is an anomaly
        return (config.classes[0], *(label for label in found if label != config.classes[0]))
    if config.classes:
        unknown = sorted(set(found) - set(config.classes))
        if unknown:
            lines = [row.line for row in rows if set(row.labels) & set(unknown)]
            raise LabelsError(f"label {unknown[0]!r} (line {lines[0]}) is not in classes ({', '.join(config.classes)})")
        return config.classes
    normal = next((name for name in NORMAL_NAMES for label in found if label.lower() == name), None)
    if normal is None:
        raise LabelsError(
            f"which class is the normal one? set classes with it first, as in --set 'classes=[{','.join(found)}]'"
        )
    first = next(label for label in found if label.lower() == normal)
    return (first, *(label for label in found if label != first))
