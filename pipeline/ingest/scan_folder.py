"""Every series below the folders given, and every file or link that belongs to none."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.errors import Reason
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.copies import mark_copies
from pipeline.ingest.examine import examine
from pipeline.ingest.facts import FileFacts
from pipeline.ingest.find import FoundFile, find_files
from pipeline.ingest.refs import row_for_file, series_ref
from pipeline.ingest.series import series_refs
from pipeline.scan import SeriesRef

BATCH = 500


def scan_sources(
    sources: Sequence[Path],
    *,
    catalog: Catalog | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[SeriesRef]:
    """Find, examine and group all files; no file can stop the others.

    Args:
        sources: Folders or single files.
        catalog: Remembers files, so that those whose path, size and time are unchanged are not opened again.
        progress: Called with the number of files done so far.

    Returns:
        Sorted by `source`, then `series_uid`.

    Raises:
        SourceError: If a path given is missing or cannot be listed.
    """
    by_path: dict[Path, FoundFile] = {}
    for file in find_files(sources):
        by_path.setdefault(file.path, file)
    found = list(by_path.values())
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


def _examined(batch: Sequence[FoundFile], catalog: Catalog | None) -> Iterator[FileFacts]:
    known: Mapping[str, FileFacts] = catalog.known([str(f.path) for f in batch]) if catalog else {}
    fresh: list[FileFacts] = []
    for found in batch:
        facts = known.get(str(found.path))
        if facts is None or found.reason or not _unchanged(facts, found.path):
            facts = examine(found)
            if facts.sha256 and not facts.reason.startswith((Reason.UNREADABLE, Reason.CHANGED_FILE)):
                fresh.append(facts)
        yield replace(facts, source=found.source)
    if catalog and fresh:
        catalog.remember(fresh)


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
