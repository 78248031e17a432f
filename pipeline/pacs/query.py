"""What is asked of a PACS, and what it says it has; its answers are hostile until checked."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from pipeline.errors import ConfigError
from pipeline.pacs.object_ids import is_uid

MOST_SERIES = 100_000


@dataclass(frozen=True, slots=True)
class Query:
    """Which series are wanted; an empty field asks for any.

    Attributes:
        studies: Study Instance UIDs.
        series: Series Instance UID.
        modality: Such as CT.
        dates: Study dates as DICOM writes a range, `20260101-20260131`, open on either side.
        patient: Patient ID.
        description: Series description, with the wild cards that the PACS understands.
        limit: Series at most; 0 for all.
    """

    studies: tuple[str, ...] = ()
    series: str = ""
    modality: str = ""
    dates: str = ""
    patient: str = ""
    description: str = ""
    limit: int = 0

    def __post_init__(self) -> None:
        for text in (*self.studies, *((self.series,) if self.series else ())):
            if not is_uid(text):
                raise ConfigError("--study and --series take UIDs: digits and dots, 64 at most")

    @property
    def most(self) -> int:
        """How many series may be found."""
        return self.limit or MOST_SERIES


@dataclass(frozen=True, slots=True)
class FoundSeries:
    """One series that a PACS says it has.

    Attributes:
        study, series: UIDs, checked to be digits and dots.
        images: How many objects it says there are; 0 where it does not say.
    """

    study: str
    series: str
    images: int


class Source(Protocol):
    """Somewhere series can be found and fetched from."""

    def find(self, query: Query) -> list[FoundSeries]:
        """Series that match.

        Raises:
            PacsError: If the query fails.
        """

    def fetch(self, found: FoundSeries, counts: Counter[str]) -> None:
        """Bring one series into the incoming folder.

        Args:
            found: What to bring.
            counts: Gets what became of each object, also where an error ends the series.

        Raises:
            PacsError: If it broke off.
            DiskSpaceError: If there is no room.
        """


def date_range(since: str, until: str) -> str:
    """The range of study dates as DICOM writes it; empty without either.

    Raises:
        ConfigError: Unless both are dates as 2026-01-31 or 20260131.
    """
    ends = []
    for text in (since, until):
        if text and not re.fullmatch(r"\d{4}(-?)\d\d\1\d\d", text):
            raise ConfigError("--since and --until take a date as 2026-01-31")
        try:
            ends.append(f"{date.fromisoformat(text):%Y%m%d}" if text else "")
        except ValueError as error:
            raise ConfigError("--since and --until take a day of the calendar, as 2026-01-31") from error
    if all(ends) and ends[0] > ends[1]:
        raise ConfigError("--since is later than --until; no study would match")
    return "-".join(ends) if any(ends) else ""


def checked(query: Query, text: Callable[[str], str]) -> FoundSeries | None:
    """A series from an answer; None where it has no usable UIDs, or is not what was asked for.

    Args:
        query: What was asked.
        text: Gives the answer's value of a DICOM keyword, empty where there is none.
    """
    study, series = text("StudyInstanceUID"), text("SeriesInstanceUID")
    if not is_uid(study) or not is_uid(series):
        return None
    wanted = (not query.studies or study in query.studies) and query.series in ("", series)
    if not wanted or (query.modality and text("Modality") not in ("", query.modality)):
        return None
    images = text("NumberOfSeriesRelatedInstances")
    return FoundSeries(study, series, int(images) if re.fullmatch(r"[0-9]{1,7}", images) else 0)
