"""The ingest verb: find, read once, catalogue; what cannot be trusted goes to quarantine.csv."""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import ScanError
from pipeline.ingest.archives import workspace_archives
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.catalog_server import shown
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from pipeline.ingest.series_csv import write_quarantine_csv
from pipeline.scan import SeriesRef
from pipeline.watch import Watch
from pipeline.workspace import Workspace


def take_in(sources: Sequence[str], workspace: Workspace, watch: Watch, *, archives: bool = False) -> dict[str, Any]:
    """Ingest sources into a workspace's catalogue; every series is read once, to see that it can be.

    Args:
        sources: Folders and files.
        workspace: Where the catalogue lies, and where archives are unpacked.
        watch: Told of progress.
        archives: Whether zip archives found in folders are opened too.

    Returns:
        `counts`: status to number of series and files; `reasons`: code to number; `catalog`, `quarantine`: paths.

    Raises:
        SourceError: If a source is missing or unreadable.
    """
    with contextlib.closing(Catalog(workspace.catalog_url)) as catalog:
        paths = [Path(source) for source in sources]
        places = workspace_archives(workspace, everywhere=archives)
        progress = watch.count("reading headers", 0)
        found = scan_sources(paths, catalog=catalog, progress=progress, archives=places)
        bar = watch.bar("reading pixels", len(found))
        refs = [_proved(ref, bar) for ref in found]
        catalog.record(refs)
        quarantine = workspace.root / "quarantine.csv"
        write_quarantine_csv(quarantine, catalog.refused())
    reasons = Counter(ref.reason.partition(":")[0] for ref in refs if ref.reason)
    return {
        "counts": dict(Counter(ref.status for ref in refs)),
        "reasons": dict(sorted(reasons.items())),
        "catalog": shown(workspace.catalog_url),
        "quarantine": str(quarantine),
    }


def _proved(ref: SeriesRef, bar: Any) -> SeriesRef:
    """The reference, refused if its pixels cannot be read."""
    bar(1)
    if ref.status != "ok":
        return ref
    try:
        read_scan(ref)
    except ScanError as error:
        return replace(ref, status="refused", reason=str(error))
    return ref
