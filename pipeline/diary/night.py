"""Which series belong to a night: those that no earlier night of the same bundle has accounted for."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pipeline.diary.record import Diary
from pipeline.errors import ConfigError
from pipeline.scan import SeriesRef
from pipeline.score.outcome import Outcome

DIGITS = 24


@dataclass(frozen=True, slots=True)
class Night:
    """What is new.

    Attributes:
        date: Its date, ISO 8601.
        since: Date of the last row of the bundle before it; empty for none.
        refs: Series and files that are new.
        unchanged: Whether a row of this very night has all of them already.
    """

    date: str
    since: str
    refs: tuple[SeriesRef, ...]
    unchanged: bool


def name_of(ref: SeriesRef) -> str:
    """A name for a series by its content, for what has none by its place: 24 hex digits that tell neither."""
    return name_of_key(ref.key or ref.source, ref.status)


def name_of_key(key: str, status: str = "ok") -> str:
    """The name of what has this content key."""
    return hashlib.sha256(f"{status}|{key}".encode()).hexdigest()[:DIGITS]


def place_of(ref: SeriesRef) -> str:
    """A name for where a series lies and which it says it is, whatever its content: 24 hex digits that tell neither."""
    return hashlib.sha256(f"place|{ref.source}|{ref.series_uid}".encode()).hexdigest()[:DIGITS]


def new_refs(diary: Diary, refs: Sequence[SeriesRef], digest: str, asked: str) -> Night:
    """The night to write and what is new in it, from the folder and the diary alone.

    A night that was broken off has no row, so that its series are still new, in the same night or in the next one.
    A late run, whose date lies before the last row, counts as that row's night: rows are never written backwards.

    Args:
        diary: Of the output folder.
        refs: Everything found below the incoming folder.
        digest: Of the bundle.
        asked: Date of the schedule, ISO 8601.
    """
    rows = [row for row in diary.rows() if row.bundle == digest]
    night = max([iso_date(asked), *(row.night for row in rows)])
    earlier = [row for row in rows if row.night < night]
    known = frozenset[str]().union(*(diary.names(row) for row in earlier))
    found = tuple(ref for ref in refs if name_of(ref) not in known)
    own = frozenset[str]().union(*(diary.names(row) for row in rows if row.night == night))
    last = max((row.night for row in rows), default="")
    return Night(night, last, found, unchanged=all(name_of(ref) in own for ref in found))


def outcomes_of(refs: Sequence[SeriesRef], done: Mapping[str, Outcome]) -> dict[str, tuple[SeriesRef, Outcome]]:
    """Name to series and outcome of what is settled; what failed, or still waits, is new again in the next night."""
    found = {}
    for ref in refs:
        outcome = done.get(ref.key) if ref.status == "ok" else Outcome(ref.status, ref.reason)
        if outcome is not None and outcome.status != "failed":
            found[name_of(ref)] = (ref, outcome)
    return found


def iso_date(text: str) -> str:
    """A date as YYYY-MM-DD.

    Raises:
        ConfigError: If it is none.
    """
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise ConfigError(f"night {text!r}: a date such as 2026-01-31 would be right") from error
