"""Every series below the folders given, and every file or link that belongs to none."""

import contextlib
import itertools
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.errors import DiskSpaceError, Reason
from pipeline.ingest.archives import Archives, hash_archive, open_archive
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.examine import examine
from pipeline.ingest.facts import FileFacts
from pipeline.ingest.find import FoundFile, Zips, find_files
from pipeline.ingest.parallel import in_parallel
from pipeline.ingest.refs import row_for_file, series_ref
from pipeline.ingest.series import series_refs
from pipeline.ingest.spool import Spool, series_of
from pipeline.scan import SeriesRef

BATCH = 500
TOGETHER = 16  # files to a thread at once


def scan_sources(
    sources: Sequence[Path],
    *,
    catalog: Catalog | None = None,
    progress: Callable[[int], None] | None = None,
    archives: Archives | None = None,
    hashed: bool = True,
) -> list[SeriesRef]:
    """Find, examine and group all files; no file can stop the others.

    Args:
        sources: Folders or single files.
        catalog: Remembers files, so that those whose path, size and time are unchanged are not opened again.
        progress: Called with the number of files done so far.
        archives: Where zip archives are unpacked, and which; without it they are ignored with a reason. The files
            must stay there for as long as the references are read.
        hashed: Whether the content of every file is hashed, which is what series are known by between runs. Without,
            only those are that nothing else tells from others, and the references' `content` says nothing.

    Returns:
        Sorted by `source`, then `series_uid`.

    Raises:
        SourceError: If a path given is missing or cannot be listed.
        DiskSpaceError: If there is no room for temporary files.
    """
    zips: Zips = "none" if archives is None else "all" if archives.everywhere else "given"
    found: Iterable[FoundFile] = find_files(sources, zips)
    if len(sources) > 1:  # they may overlap
        found = _each_once(found)
    if archives is not None:
        found = _opened(found, archives, catalog)
    done = 0
    with _temporary_files(), contextlib.closing(Spool()) as spool:
        for batch in _batches(found):
            for facts in _examined(batch, catalog, hashed):
                spool.add(facts)
            done += len(batch)
            if progress:
                progress(done)
        refs = [ref for files in spool.groups() for ref in group_files(files)]
    return sorted(refs, key=lambda ref: (ref.source, ref.series_uid, ref.files))


def group_files(files: Sequence[FileFacts]) -> list[SeriesRef]:
    """One reference for each volume of a DICOM series, or for a file that stands alone.

    Args:
        files: The files of one series, in order of their sources, or one other file.
    """
    first = files[0]
    if series_of(first):
        return series_refs(files)
    if first.format and first.status == "ok":
        return _volumes(first)
    return [row_for_file(first)]


@contextlib.contextmanager
def _temporary_files() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:  # of the spool; those of a catalogue are told by itself
        raise DiskSpaceError(f"temporary files cannot be written ({error}); set TMPDIR elsewhere") from error


def _batches(found: Iterable[FoundFile]) -> Iterator[list[FoundFile]]:
    coming = iter(found)
    while batch := list(itertools.islice(coming, BATCH)):
        yield batch


def _each_once(found: Iterable[FoundFile]) -> Iterator[FoundFile]:
    seen: set[Path] = set()
    for file in found:
        if file.path not in seen:
            seen.add(file.path)
            yield file


def _opened(found: Iterable[FoundFile], archives: Archives, catalog: Catalog | None) -> Iterator[FoundFile]:
    """The files, with the members of each archive in its place."""
    seen: set[str] = set()
    for file in found:
        if not file.archive:
            yield file
            continue
        path = str(file.path)
        facts = catalog.known([path]).get(path) if catalog else None
        if facts is None or not facts.sha256 or not _unchanged(facts):
            try:
                facts = _archive_facts(file)
            except OSError:
                yield replace(file, reason=f"{Reason.UNREADABLE}: the archive cannot be read", archive=False)
                continue
            if catalog:
                catalog.remember([facts])
        if facts.sha256 in seen:
            yield replace(file, reason=f"{Reason.DUPLICATE_FILE}: a copy of another archive", archive=False)
        else:
            yield from open_archive(file, facts.sha256, archives)
        seen.add(facts.sha256)


def _archive_facts(file: FoundFile) -> FileFacts:
    """What is remembered of an archive: its hash, so that it is not read again to find what was unpacked."""
    state = file.path.stat()
    return FileFacts(
        path=str(file.path),
        source=file.source,
        size=state.st_size,
        mtime_ns=state.st_mtime_ns,
        sha256=hash_archive(file.path),
        status="ignored",
        reason=f"{Reason.ARCHIVE}: opened",
    )


def _examined(batch: Sequence[FoundFile], catalog: Catalog | None, hashed: bool) -> Iterator[FileFacts]:
    """What is known or learnt of each file; what is new is remembered."""
    known = catalog.known([str(file.path) for file in batch]) if catalog else {}
    sound = {path: facts for path, facts in known.items() if _unchanged(facts)}
    new = [file for file in batch if file.reason or str(file.path) not in sound]
    fresh = {str(file.path): facts for file, facts in zip(new, _learnt(new, hashed), strict=True)}
    if catalog:
        damaged = {str(file.path) for file in new if file.damaged}
        catalog.remember([fresh[path] for path in fresh if path not in damaged and _to_remember(fresh[path])])
    for file in batch:
        path = str(file.path)
        facts = fresh[path] if path in fresh else sound[path]
        yield facts if facts.source == file.source else replace(facts, source=file.source)


def _learnt(files: Sequence[FoundFile], hashed: bool) -> Iterator[FileFacts]:
    """Examine files in order: in threads where they are hashed, which leaves the interpreter to others."""

    def some(part: Sequence[FoundFile]) -> list[FileFacts]:
        return [_of_damaged(file) if file.damaged else examine(file, hashed=hashed) for file in part]

    if not hashed or len(files) <= TOGETHER:
        yield from some(files)
        return
    parts = [files[start : start + TOGETHER] for start in range(0, len(files), TOGETHER)]
    for part in in_parallel(some, parts):
        yield from part


def _to_remember(facts: FileFacts) -> bool:
    """Whether a file's facts hold for as long as it does not change; a decoder may be killed by others' need too."""
    passing = (Reason.UNREADABLE, Reason.CHANGED_FILE, Reason.DECODE_KILLED)
    return bool(facts.sha256) and not facts.reason.startswith(passing)


def _of_damaged(found: FoundFile) -> FileFacts:
    """What a damaged file still tells of itself, so that the series it belongs to is refused with it."""
    return replace(examine(replace(found, reason="")), status="refused", reason=found.reason)


def _unchanged(facts: FileFacts) -> bool:
    try:
        state = Path(facts.path).stat()
    except OSError:
        return False
    return (facts.size, facts.mtime_ns) == (state.st_size, state.st_mtime_ns)


def _volumes(file: FileFacts) -> list[SeriesRef]:
    """One reference per volume of a NIfTI file or image."""
    split = file.volumes > 1
    return [
        series_ref([file], volume=volume, images=file.shape[2], number=volume + 1 if split else 0)
        for volume in range(file.volumes)
    ]
