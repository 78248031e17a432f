"""A labels.csv to fill in: one row per series that ingest can read."""

import csv
import os.path
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pipeline.errors import SourceError
from pipeline.ingest.find import ZIP
from pipeline.scan import SeriesRef
from pipeline.workspace import safe_cell, whole_file

MOST_CLASSES = 20
FEWEST_A_CLASS = 3


def write_template(folder: Path, path: Path, refs: Sequence[SeriesRef]) -> dict[str, int]:
    """Write the template; labels come from the sub-folders where these look like classes.

    Args:
        folder: The folder that was searched.
        path: The CSV to write; paths in it are relative to its own folder.
        refs: What ingest found below `folder`.

    Returns:
        `rows` and `labelled`, the number that got a label from their folder.

    Raises:
        SourceError: If nothing readable was found.
    """
    usable = [ref for ref in refs if ref.status == "ok"]
    if not usable:
        raise SourceError(f"{folder}: no readable series below it")
    classes = class_folders(usable)
    shared = Counter(ref.source for ref in usable)
    above = {str(parent) for ref in usable for parent in PurePosixPath(ref.source).parents}
    base = path.absolute().parent.resolve()
    root = folder.resolve() if folder.is_dir() else folder.absolute().parent.resolve()
    with whole_file(path, private=True) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "series_uid", "label", "patient", "site", "split"])
        for ref in usable:
            there = root / ref.source
            name = Path(os.path.relpath(there, base)).as_posix()
            label = safe_cell(PurePosixPath(ref.source).parts[0]) if classes else ""
            several = shared[ref.source] > 1 or ref.source in above  # the path alone would name further series
            by_uid = several or _in_archive(there)
            uid = safe_cell(ref.series_uid) if by_uid else ""
            writer.writerow(["" if by_uid else name, uid, label, "", "", ""])
    return {"rows": len(usable), "labelled": len(usable) if classes else 0}


def _in_archive(place: Path) -> bool:
    """Whether a series lies in a zip archive, where no path leads; the catalogue finds it by its UID."""
    return any(part.suffix.lower() == ZIP and part.is_file() for part in (place, *place.parents))


def class_folders(refs: Sequence[SeriesRef]) -> bool:
    """Whether the first folder of every source looks like a class: 2 to 20 of them, 3 series or more in each."""
    parts = [PurePosixPath(ref.source).parts for ref in refs]
    if any(len(part) < 2 for part in parts):
        return False
    counts = Counter(part[0] for part in parts)
    return 2 <= len(counts) <= MOST_CLASSES and min(counts.values()) >= FEWEST_A_CLASS
