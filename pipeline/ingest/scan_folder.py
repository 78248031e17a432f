"""Every series below the folders given, and every file or link that belongs to none."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.errors import Reason
from pipeline.ingest.archives import Archives, hash_archive, open_archive
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.copies import mark_copies
from pipeline.ingest.examine import examine
from pipeline.ingest.facts import FileFacts
from pipeline.ingest.find import FoundFile, Zips, find_files
from pipeline.ingest.refs import row_for_file, series_ref
from pipeline.ingest.series import series_refs
from pipeline.scan import SeriesRef

BATCH = 500


def scan_sources(
    sources: Sequence[Path],
    *,
    catalog: Catalog | None = None,
    progress: Callable[[int], None] | None = None,
    archives: Archives | None = None,
) -> list[SeriesRef]:
    """Find, examine and group all files; no file can stop the others.

    Args:
        sources: Folders or single files.
        catalog: Remembers files, so that those whose path, size and time are unchanged are not opened again.
        progress: Called with the number of files done so far.
        archives: Where zip archives are unpacked, and which; without it they are ignored with a reason. The files
            must stay there for as long as the references are read.

    Returns:
        Sorted by `source`, then `series_uid`.

    Raises:
        SourceError: If a path given is missing or cannot be listed.
    """
    by_path: dict[Path, FoundFile] = {}
    zips: Zips = "none" if archives is None else "all" if archives.everywhere else "given"
    for file in find_files(sources, zips):
        by_path.setdefault(file.path, file)
    found = list(by_path.values())
    if archives is not None:
        found = list(_opened(found, archives, catalog))
    files: list[FileFacts] = []
    for start in range(0, len(found), BATCH):
        for facts in _examined(found[start : start + BATCH], catalog):
            files.append(facts)
            if progress:
                progress(len(files))
    return group_files(files)


def group_files(files: Sequence[FileFacts]) -> list[SeriesRef]:
    """One reference for each volume, and one for each file that belongs to none, sorted."""
    refs: list[SeriesRef] = []
    by_series: dict[str, list[FileFacts]] = defaultdict(list)
    for file in mark_copies(sorted(files, key=lambda file: (file.source, file.path))):
        if file.format == "dicom" and file.status != "ignored":
            by_series[file.series_uid].append(file)
        elif file.format and file.status == "ok":
            refs += _volumes(file)
        else:
            refs.append(row_for_file(file))
    for members in by_series.values():
        refs += series_refs(members)
    return sorted(refs, key=lambda ref: (ref.source, ref.series_uid, ref.files))


def _opened(found: Sequence[FoundFile], archives: Archives, catalog: Catalog | None) -> Iterator[FoundFile]:
    """The files, with the members of each archive in its place."""
    paths = [str(file.path) for file in found if file.archive]
    known = catalog.known(paths) if catalog and paths else {}
    seen: set[str] = set()
    for file in found:
        if not file.archive:
            yield file
            continue
        facts = known.get(str(file.path))
        if facts is None or not facts.sha256 or not _unchanged(facts, file.path):
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


def _examined(batch: Sequence[FoundFile], catalog: Catalog | None) -> Iterator[FileFacts]:
    known: Mapping[str, FileFacts] = catalog.known([str(f.path) for f in batch]) if catalog else {}
    fresh: list[FileFacts] = []
    for found in batch:
        facts = known.get(str(found.path))
        if facts is None or found.reason or not _unchanged(facts, found.path):
            facts = _of_damaged(found) if found.damaged else examine(found)
            if (
                not found.damaged
                and facts.sha256
                and not facts.reason.startswith((Reason.UNREADABLE, Reason.CHANGED_FILE))
            ):
                fresh.append(facts)
        yield replace(facts, source=found.source)
    if catalog and fresh:
        catalog.remember(fresh)


def _of_damaged(found: FoundFile) -> FileFacts:
    """What a damaged file still tells of itself, so that the series it belongs to is refused with it."""
    return replace(examine(replace(found, reason="")), status="refused", reason=found.reason)


def _unchanged(facts: FileFacts, path: Path) -> bool:
    try:
        state = path.stat()
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
