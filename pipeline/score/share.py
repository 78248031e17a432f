"""One of several machines that score a folder together: what is its own, and how its table joins the others'."""

import csv
import hashlib
import heapq
import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pipeline.scan import SeriesRef
from pipeline.score.place import STATE, Share
from pipeline.score.table import csv_line, remove_torn, row_order
from pipeline.workspace import exclusive, whole_file

MARK = "complete.json"
MERGE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Mark:
    """That a machine's table is complete.

    Attributes:
        model: Digest of the bundle.
        listing: Of all that the machine found, see `listing_of`.
        sha256: Of the table.
    """

    model: str
    listing: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Joined:
    """What became of the table of all machines.

    Attributes:
        table: `scores.csv`; None where machines are missing.
        missing: Shares whose table is not there, not complete, or of another bundle.
        differing: Whether the machines found different folders, so that the table is of no one moment.
    """

    table: Path | None
    missing: tuple[Share, ...] = ()
    differing: bool = False


def listing_of(refs: Iterable[SeriesRef]) -> str:
    """A hash of everything that a machine found, by which machines know whether they found the same."""
    found = hashlib.sha256()
    for ref in refs:
        found.update(repr((ref.source, ref.series_uid, ref.status, ref.key)).encode())
    return found.hexdigest()[:32]


def begin(share: Share, out: Path) -> None:
    """Take back that the machine's table is complete, and what a kill left of it."""
    (share.state(out) / MARK).unlink(missing_ok=True)
    remove_torn(share.table(out))


def join_if_complete(share: Share, out: Path, model: str, *, listing: str, is_whole: bool) -> tuple[str, str]:
    """Note that a machine's table is complete, where it is, and merge all tables where this is the last one.

    Args:
        share: The machine's.
        out: The output that all machines share.
        model: Digest of the bundle.
        listing: See `listing_of`.
        is_whole: Whether the table has a row for all that the machine was to score.

    Returns:
        The merged table, or empty; and what is to be said of it.
    """
    if not is_whole:
        return "", f"shard {share.name} is not done yet"
    complete(share, out, model=model, listing=listing)
    joined = join(share, out, model)
    if joined.table is None:
        names = ", ".join(one.name for one in joined.missing)
        return "", f"scores.csv waits for shards that are not done, or used another bundle: {names}"
    differing = "the machines found different scans, so that scores.csv is of no one moment; run each of them again"
    return str(joined.table), differing if joined.differing else ""


def complete(share: Share, out: Path, *, model: str, listing: str) -> None:
    """Note that the machine's table is complete."""
    mark = Mark(model, listing, _sha256(share.table(out)))
    with whole_file(share.state(out) / MARK, private=True) as file:
        json.dump({name: getattr(mark, name) for name in Mark.__slots__}, file)


def join(share: Share, out: Path, model: str) -> Joined:
    """Merge the tables of all machines into `scores.csv`, if this is the last machine to finish.

    The bytes are those that one machine would have written. Machines that finish at once take turns.

    Args:
        share: This machine's.
        out: The output that all machines share.
        model: Digest of the bundle.

    Raises:
        BusyError: If another machine takes more than ten minutes to merge.
    """
    with exclusive(out / STATE / "merge", timeout=MERGE_SECONDS):
        marks = {one: _read_mark(one, out) for one in share.all()}
        missing = tuple(one for one, mark in marks.items() if mark is None or mark.model != model)
        if missing:
            return Joined(None, missing)
        table = out / "scores.csv"
        remove_torn(table)
        _merge([one.table(out) for one in marks], table)
        return Joined(table, differing=len({mark.listing for mark in marks.values() if mark}) > 1)


def _read_mark(share: Share, out: Path) -> Mark | None:
    """The mark of a machine whose table is there as it was marked."""
    try:
        mark = Mark(**json.loads((share.state(out) / MARK).read_text(encoding="utf-8")))
        return mark if mark.sha256 == _sha256(share.table(out)) else None
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _merge(tables: list[Path], out: Path) -> None:
    with ExitStack() as stack:
        readers = [csv.reader(stack.enter_context(path.open(encoding="utf-8", newline=""))) for path in tables]
        headers = [next(reader) for reader in readers]
        file = stack.enter_context(whole_file(out, private=True))
        file.write(csv_line(headers[0]))
        for row in heapq.merge(*readers, key=row_order):
            file.write(csv_line(row))
