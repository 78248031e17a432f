"""Fetching from a PACS as a step of a night: the last days' series, and those of nights that fetched less than all."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pipeline.pacs.limits import Limits, Room
from pipeline.pacs.listener import Address
from pipeline.pacs.network import ae_title
from pipeline.pacs.pull import Pulled, Puller
from pipeline.pacs.query import Query, date_range
from pipeline.pacs.sources import Access, open_source
from pipeline.pacs.store import IncomingStore
from pipeline.watch import Watch
from pipeline.workspace import whole_file

GIB = 2**30
MOST_DAYS = 31  # that a night goes back by itself


class Fetched:
    """Up to which night all was fetched, for each PACS and modality: `.scanshift/nights_pulled.json`, mode 0600.

    Args:
        store: The incoming folder.
        pull: `url` and `modality`, which are kept as a hash.
    """

    def __init__(self, store: IncomingStore, pull: Mapping[str, Any]) -> None:
        self._path = store.own / "nights_pulled.json"
        self._key = hashlib.sha256(f"{pull['url']}|{pull['modality']}".encode()).hexdigest()[:16]

    def _read(self) -> dict[str, str]:
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError, AttributeError):  # else as if there was none
            noted = json.loads(self._path.read_text(encoding="utf-8"))
            return {str(key): date.fromisoformat(night).isoformat() for key, night in noted.items()}
        return {}

    @property
    def night(self) -> str:
        """Date of the last whole fetch, else of the first that was tried, ISO 8601; empty for none."""
        return self._read().get(self._key, "")

    def note(self, night: str) -> None:
        """Keep a night, unless a later one is kept."""
        noted = self._read()
        noted[self._key] = max(night, noted.get(self._key, ""))
        with whole_file(self._path, private=True) as file:
            json.dump(noted, file)


def recent(night: str, days: int, modality: str, last: str = "") -> tuple[Query, str]:
    """Series of studies of a night's date and so many days before it.

    Args:
        night: Date, ISO 8601.
        days: How many, and as many before the last whole fetch, if that is longer ago; a month at most.
        modality: Of the series; empty for all.
        last: Night of the last whole fetch; empty for none.

    Returns:
        The query; and where it leaves something out, being a month long, the date from which all would be asked for.
    """
    end = date.fromisoformat(night)
    since = wanted = end - timedelta(days=days)
    if last:
        wanted = min(since, date.fromisoformat(last) - timedelta(days=days))
        since = max(wanted, end - timedelta(days=max(days, MOST_DAYS)))
    query = Query(modality=modality, dates=date_range(since.isoformat(), night))
    return query, wanted.isoformat() if wanted < since else ""


def fetch_recent(pull: Mapping[str, Any], incoming: Path, night: str, watch: Watch) -> dict[str, Any]:
    """Fetch into the incoming folder what is not there yet, complete.

    Args:
        pull: `url`, `days`, `modality`, `aet`.
        incoming: The folder.
        night: Date, ISO 8601.
        watch: Told of progress.

    Returns:
        Series by how they ended, and `missing` objects.

    Raises:
        PacsError: If the PACS cannot be reached, or gives nothing of what it says it has.
    """
    store = IncomingStore(incoming, "pull")
    limits = Limits(object_bytes=2 * GIB, total_bytes=50 * GIB)
    access = Access(pull["url"], "get", Address(ae_title(pull["aet"]), "127.0.0.1", 0), "", limits)
    with store.claimed(), open_source(access, store, Room(incoming), say=watch.note) as source:
        fetched = Fetched(store, pull)
        query, since = recent(night, pull["days"], pull["modality"], fetched.night)
        if since:
            watch.note(f"fetched of {query.dates} alone; for what is older: scanshift pull --since {since}")
        if not fetched.night:
            fetched.note(night)  # where to go back to, should this one fail
        pulled = Puller(source, store).pull(query, watch)
        if _whole(pulled):
            fetched.note(night)
    return {**pulled.series, "missing": pulled.missing}


def _whole(pulled: Pulled) -> bool:
    return not (pulled.series["failed"] or pulled.series["incomplete"] or pulled.missing)
