"""What one scan learnt of its files, kept on disk until they are grouped, so that memory does not grow with them."""

import itertools
import os
import sqlite3
from collections.abc import Iterator, Sequence

from pipeline.ingest.copies import mark_copies, names_of
from pipeline.ingest.facts import FileFacts, facts_from_json

HELD = 1000
SCHEMA = """
CREATE TABLE file (id INTEGER PRIMARY KEY, series TEXT, source TEXT, path BLOB, facts TEXT);
CREATE TABLE name (name TEXT, file INTEGER);
"""


class Spool:
    """The first files in memory, then all in a temporary database without a name, which the system deletes.

    Args:
        held: Files that are kept in memory at most.
    """

    def __init__(self, held: int = HELD) -> None:
        self._at_most = held
        self._held: list[FileFacts] = []
        self._database = sqlite3.connect("")
        self._database.executescript(SCHEMA)
        self._spilt = False

    def close(self) -> None:
        """Delete it."""
        self._database.close()

    def add(self, file: FileFacts) -> None:
        """Note a file."""
        self._held.append(file)
        if len(self._held) > self._at_most:
            for held in self._held:
                self._write(held)
            self._held.clear()
            self._spilt = True

    def _write(self, file: FileFacts) -> None:
        row = (series_of(file), file.source, os.fsencode(file.path), file.to_json())
        place = self._database.execute("INSERT INTO file (series, source, path, facts) VALUES (?, ?, ?, ?)", row)
        names = [(name, place.lastrowid) for name in names_of(file)]
        self._database.executemany("INSERT INTO name VALUES (?, ?)", names)

    def groups(self) -> Iterator[list[FileFacts]]:
        """Files that may belong together, copies marked: those of one DICOM series, or one other file alone."""
        if not self._spilt:
            yield from _in_memory(self._held)
            return
        for held in self._held:
            self._write(held)
        self._held.clear()
        self._mark_copies()
        self._database.execute("CREATE INDEX series ON file (series, source, path)")
        rows = self._database.execute("SELECT series, facts FROM file ORDER BY series, source, path")
        for series, members in itertools.groupby(rows, key=lambda row: row[0]):
            files = (facts_from_json(text) for _, text in members)
            if series:
                yield list(files)
            else:
                yield from ([file] for file in files)

    def _mark_copies(self) -> None:
        """Mark copies among the files that share a name with another; all others are not touched."""
        self._database.execute("CREATE INDEX name_of ON name (name)")
        query = """SELECT DISTINCT file.id, facts, source, path FROM file JOIN name ON name.file = file.id
                   WHERE name IN (SELECT name FROM name GROUP BY name HAVING COUNT(*) > 1) ORDER BY source, path"""
        rows = self._database.execute(query).fetchall()
        files = [facts_from_json(text) for _, text, _, _ in rows]
        for row, before, after in zip(rows, files, mark_copies(files), strict=True):
            if after is not before:
                self._database.execute(
                    "UPDATE file SET series = ?, facts = ? WHERE id = ?", (series_of(after), after.to_json(), row[0])
                )


def series_of(file: FileFacts) -> str:
    """The series that a file is grouped in; empty where it stands alone."""
    return file.series_uid if file.format == "dicom" and file.status != "ignored" else ""


def _in_memory(files: Sequence[FileFacts]) -> Iterator[list[FileFacts]]:
    by_series: dict[str, list[FileFacts]] = {}
    for file in mark_copies(sorted(files, key=lambda file: (file.source, os.fsencode(file.path)))):
        if series_of(file):
            by_series.setdefault(series_of(file), []).append(file)
        else:
            yield [file]
    yield from by_series.values()
