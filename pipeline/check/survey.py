"""Look at every series below the folders given: what it is, whether it would be scored, and why."""

import dataclasses
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.check.codecs import decoders_here, syntaxes_found
from pipeline.check.one_series import read
from pipeline.check.overview import look_at_all
from pipeline.check.records import Check, Timing
from pipeline.check.row import SeriesCheck
from pipeline.errors import ScanError, SourceError
from pipeline.ingest.archives import Archives
from pipeline.ingest.scan_folder import scan_sources
from pipeline.watch import Watch

if TYPE_CHECKING:  # torch takes seconds to import, and is needed with a bundle only
    from pipeline.check.trial import Trial


def check_sources(
    sources: Sequence[Path],
    *,
    trial: "Trial | None" = None,
    headers_only: bool = False,
    archives: Archives | None = None,
    watch: Watch | None = None,
) -> Check:
    """Find all series and look at each of them once; nothing is written.

    Args:
        sources: Folders or single files.
        trial: A bundle to hold them against.
        headers_only: Whether to leave the pixels alone.
        archives: As in `scan_sources`.
        watch: Where progress is told.

    Raises:
        SourceError: If a source is missing, or nothing at all is found.
    """
    watch = watch or Watch()
    start = time.perf_counter()
    progress = watch.count("reading headers", 0)
    refs = scan_sources(sources, progress=progress, archives=archives, hashed=trial is not None)
    if not refs:
        raise SourceError("check: nothing found in the sources given")
    timing = Timing(header_seconds=time.perf_counter() - start)
    rows, syntaxes = look_at_all(refs, watch)
    if headers_only:
        rows = [_judged(row, trial) for row in rows]
    else:
        rows, timing = _read_all(rows, trial, timing, watch)
    decoders = decoders_here()
    return Check(
        rows=tuple(rows),
        syntaxes=syntaxes_found(syntaxes, decoders),
        decoders=tuple(decoders.values()),
        bundle=trial.facts if trial else None,
        timing=None if headers_only else timing,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=version("scanshift"),
    )


def _read_all(
    rows: Sequence[SeriesCheck], trial: "Trial | None", timing: Timing, watch: Watch
) -> tuple[list[SeriesCheck], Timing]:
    """Read every sound series, and time it."""
    sound = sum(row.ref.status == "ok" for row in rows)
    step = watch.bar("reading pixels", sound)
    shelf = trial.new_shelf() if trial else None
    done = []
    start = time.perf_counter()
    for row in rows:
        if row.ref.status == "ok":
            row, slices = read(_seen(row, trial), trial)
            if shelf and slices is not None:
                shelf.offer(slices)
            step(1)
        done.append(row)
    timing = dataclasses.replace(timing, series=sound, read_seconds=time.perf_counter() - start)
    if trial and shelf:
        watch.note("timing the network")
        timing = trial.timed(timing, shelf, [row.ref for row in done if row.ref.status == "ok"])
    return done, timing


def _judged(row: SeriesCheck, trial: "Trial | None") -> SeriesCheck:
    """A row whose pixels are not read, refused where the bundle is for other scans."""
    row = _seen(row, trial)
    if trial is None or row.ref.status != "ok":
        return row
    try:
        trial.require_applicable(row.ref)
    except ScanError as error:
        return row.refused(str(error))
    return row


def _seen(row: SeriesCheck, trial: "Trial | None") -> SeriesCheck:
    if trial is None or row.ref.status != "ok":
        return row
    return dataclasses.replace(row, seen=trial.seen(row.ref))
