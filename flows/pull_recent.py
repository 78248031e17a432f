"""Fetching the last days' series from a PACS, as a step of a night."""

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pipeline.pacs.limits import Limits, Room
from pipeline.pacs.listener import Address
from pipeline.pacs.network import ae_title
from pipeline.pacs.pull import Puller
from pipeline.pacs.query import Query, date_range
from pipeline.pacs.sources import Access, open_source
from pipeline.pacs.store import IncomingStore
from pipeline.watch import Watch

GIB = 2**30


def recent(night: str, days: int, modality: str) -> Query:
    """Series of studies of the night's date and so many days before."""
    since = date.fromisoformat(night) - timedelta(days=days)
    return Query(modality=modality, dates=date_range(since.isoformat(), night))


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
        pulled = Puller(source, store).pull(recent(night, pull["days"], pull["modality"]), watch)
    return {**pulled.series, "missing": pulled.missing}
