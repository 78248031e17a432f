"""The diary on disk: `diary.jsonl`, a row for each night and bundle, and beside it which series each night had."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import DiaryError
from pipeline.score.place import STATE
from pipeline.workspace import whole_file

FORMAT = 1
FILE, PAGE, NIGHTS = "diary.jsonl", "diary.html", "nights"


@dataclass(frozen=True, slots=True)
class Row:
    """One night of one bundle. Counts and figures, no path and no identity.

    Attributes:
        night: Date of the schedule, ISO 8601.
        bundle: Digest of the bundle.
        counts: Status to number of rows of scores.csv that are new this night.
        decisions: `normal`, `anomaly`, `refer` to number of scans.
        classes: Class to number of scans for which it is the most probable.
        scores: Quantile, such as `0.5`, to anomaly score; None for fewer than 5 scans.
        shares: `abnormal` (called so by the policy, also where referred), `referred` and `refused`, each a share with
            `value`, `low`, `high`, `of`, and `expected` where the bundle says what to expect.
        shift: What was found against the bundle's reference: `reason` where nothing was compared, `scans`, `patients`,
            `tests` (p of outputs, features, headers), `fields` (adjusted p of header fields that differ), `kind`,
            `sentence`, `auroc` of telling both apart.
        look: Number of the test of this bundle; 0 where none was made.
        alpha: What that look may spend; 0 without one.
        p: Of the night; None without a test.
        alarm: Whether p is at most alpha, or was in an earlier look at the same night.
        calibration: Once labels arrive: `scans`, `brier`, `ece`, `auroc`, `reason`; else empty.
        pull: What was fetched: series by how they ended, or `reason`; empty where nothing was asked for.
        proposals: What to do, in words.
    """

    night: str
    bundle: str
    counts: dict[str, int]
    decisions: dict[str, int] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    scores: dict[str, float] | None = None
    shares: dict[str, dict[str, Any]] = field(default_factory=dict)
    shift: dict[str, Any] = field(default_factory=dict)
    look: int = 0
    alpha: float = 0.0
    p: float | None = None
    alarm: bool = False
    calibration: dict[str, Any] = field(default_factory=dict)
    pull: dict[str, Any] = field(default_factory=dict)
    proposals: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What there is one row of."""
        return self.night, self.bundle

    def to_json(self) -> str:
        """One line."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False, allow_nan=False)


class Seen(NamedTuple):
    """What a row remembers of a series beside its name.

    Attributes:
        place: Hash of where it lay and of its UID, see `pipeline.diary.night`; empty in lists of earlier versions.
        status: What came of it; empty there.
    """

    place: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True)
class Diary:
    """The diary of an output folder; the caller holds its lock while it writes.

    Attributes:
        out: The folder with scores.csv. `diary.jsonl` appears whole or not at all, so that a kill leaves the rows as
            they were. The row is what counts: a list of series without its row is as if it were not there.
    """

    out: Path

    @property
    def page(self) -> Path:
        """`diary.html`."""
        return self.out / PAGE

    def rows(self) -> list[Row]:
        """All rows, by night.

        Raises:
            DiaryError: If the file is none that `put` wrote.
        """
        path = self.out / FILE
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
        return [_read(path, number, line) for number, line in enumerate(lines, 1)]

    def put(self, row: Row, names: Mapping[str, Seen] | None = None) -> None:
        """Add a row, or replace that of the same night and bundle.

        Args:
            row: The row.
            names: Series of the night by name, see `pipeline.diary.night`; None leaves them as they are.
        """
        if names is not None:
            with whole_file(self._names(row), private=True) as file:
                json.dump(dict(sorted(names.items())), file)
        rows = {one.key: one for one in self.rows()} | {row.key: row}
        with whole_file(self.out / FILE) as file:
            file.writelines(f"{rows[key].to_json()}\n" for key in sorted(rows))

    def names(self, row: Row) -> frozenset[str]:
        """Names of the series of a row.

        Raises:
            DiaryError: If the list is gone or makes no sense.
        """
        return frozenset(self.seen(row))

    def seen(self, row: Row) -> dict[str, Seen]:
        """Series of a row by name.

        Raises:
            DiaryError: If the list is gone or makes no sense.
        """
        path = self._names(row)
        try:
            listed = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(listed, list):
                return {str(name): Seen() for name in listed}
            return {str(name): Seen(str(place), str(status)) for name, (place, status) in listed.items()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise DiaryError(f"{path}: the list of the night's series is gone or damaged") from error

    def _names(self, row: Row) -> Path:
        return self.out / STATE / NIGHTS / f"{row.night}-{row.bundle[:12]}.json"

    def stale_page(self) -> bool:
        """Whether the page is older than the rows, or not there though they are."""
        rows = self.out / FILE
        if not rows.exists():
            return False
        return not self.page.exists() or self.page.stat().st_mtime_ns < rows.stat().st_mtime_ns


def _read(path: Path, number: int, line: str) -> Row:
    wrong = DiaryError(f"{path}, line {number}: not a row of format {FORMAT}; move the file away to begin a new diary")
    try:
        record: dict[str, Any] = json.loads(line)
        known = record.pop("format") == FORMAT and set(record) <= {one.name for one in fields(Row)}
        row = Row(**record)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise wrong from error
    if not known:
        raise wrong
    return replace(row, proposals=tuple(row.proposals))
