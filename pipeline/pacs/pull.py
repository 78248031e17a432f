"""Fetching series from a PACS: what is complete is not fetched again, what breaks off is tried again."""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import DiskSpaceError, PacsError
from pipeline.pacs.query import FoundSeries, Query, Source
from pipeline.pacs.store import IncomingStore, Kept
from pipeline.watch import Watch
from pipeline.workspace import whole_file

FIRST_PAUSE_SECONDS = 1.0
HELD = (Kept.STORED.value, Kept.REPEATED.value)


@dataclass(slots=True)
class Pulled:
    """What a run fetched.

    Attributes:
        series: Series by how they ended: `complete`, `here already`, `incomplete`, `failed`.
        objects: Objects by what became of them: `stored`, `repeated`, `different`, `refused`.
        missing: Objects that the PACS says there are and that did not come.
        trouble: What went wrong, each thing once, without identity.
    """

    series: Counter[str] = field(default_factory=Counter)
    objects: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    trouble: list[str] = field(default_factory=list)

    @property
    def got_something(self) -> bool:
        """Whether the run was of any use."""
        return bool(self.series["complete"] or self.series["here already"] or self.objects["stored"])

    def record(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "series": dict(self.series),
            "objects": dict(self.objects),
            "missing": self.missing,
            "trouble": self.trouble,
        }


class Done:
    """Which series were complete, by pseudonym, so that they may be moved away: `.scanshift/pulled.json`, 0600.

    Args:
        store: The incoming folder.
    """

    def __init__(self, store: IncomingStore) -> None:
        self._store = store
        self._path = store.own / "pulled.json"
        self._images: dict[str, int] = {}
        with contextlib.suppress(
            FileNotFoundError, ValueError, TypeError, AttributeError
        ):  # else all is asked for again
            noted = json.loads(self._path.read_text(encoding="utf-8"))
            self._images = {str(name): int(images) for name, images in noted.items()}

    def has(self, found: FoundSeries) -> bool:
        """Whether a series was complete, and the PACS has no more of it by now."""
        return self._images.get(self._store.name("series", found.series), -1) >= found.images

    def add(self, found: FoundSeries, images: int) -> None:
        """Note a series as complete."""
        self._images[self._store.name("series", found.series)] = images
        with whole_file(self._path, private=True) as file:
            json.dump(self._images, file)


@dataclass(slots=True, eq=False)
class Puller:
    """Fetches series from one source into one folder, which is claimed.

    Attributes:
        source: The PACS.
        store: The incoming folder.
        tries: How often a series, and the query, is tried.
        pause: Waits a number of seconds between tries.
        pulled: What was fetched so far.
    """

    source: Source
    store: IncomingStore
    tries: int = 3
    pause: Callable[[float], None] = time.sleep
    pulled: Pulled = field(default_factory=Pulled)

    def find(self, query: Query) -> list[FoundSeries]:
        """Series that match.

        Raises:
            PacsError: If the query fails as often as it is tried.
        """
        for left in reversed(range(self.tries)):
            try:
                return self.source.find(query)
            except PacsError as error:
                if not (error.again and left):
                    raise
                self._wait(left)
        raise ValueError("tries: 1 or more would be right")

    def pull(self, query: Query, watch: Watch) -> Pulled:
        """Fetch every series that matches and is not complete already.

        Raises:
            PacsError: If the query fails, or something was found and nothing could be fetched.
        """
        found = self.find(query)
        done, step = Done(self.store), watch.bar("fetching series", len(found))
        for number, series in enumerate(found):
            try:
                self.pulled.series[self._fetch(series, done)] += 1
            except DiskSpaceError as error:
                self.pulled.series["failed"] += len(found) - number
                self._trouble(str(error))
                break
            step(1)
        if found and not self.pulled.got_something:
            raise PacsError(f"nothing could be fetched: {'; '.join(self.pulled.trouble) or 'no object came'}")
        for text in self.pulled.trouble:
            watch.note(text)
        return self.pulled

    def _fetch(self, found: FoundSeries, done: Done) -> str:
        """Fetch one series until it is complete, and say how it ended."""
        if done.has(found):
            return "here already"
        broke = False
        for left in reversed(range(self.tries)):
            broke, again, refused = False, True, self._refused()
            try:
                self.source.fetch(found, self.pulled.objects)
            except PacsError as error:
                broke, again = True, error.again
                self._trouble(str(error))
            held = self.store.held(found.series)
            if not found.images and self._refused() > refused:  # no number that would show what is missing
                broke = True
            if not broke and held >= max(found.images, 1):
                done.add(found, held)
                return "complete"
            if not (again and left):
                break
            self._wait(left)
        self.pulled.missing += max(0, found.images - self.store.held(found.series))
        return "failed" if broke else "incomplete"

    def _refused(self) -> int:
        """Objects that came and were not kept."""
        return self.pulled.objects.total() - sum(self.pulled.objects[kept] for kept in HELD)

    def _wait(self, left: int) -> None:
        self.pause(FIRST_PAUSE_SECONDS * 2 ** (self.tries - left - 1))

    def _trouble(self, text: str) -> None:
        if text not in self.pulled.trouble:
            self.pulled.trouble.append(text)
