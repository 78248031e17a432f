"""`index.csv` of a folder of files whose names are pseudonyms: which is whose, and which of an earlier run may go."""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.workspace import whole_file

INDEX = "index.csv"
OWN_NAME = re.compile(r"[0-9a-f]{12}\.(png|nii\.gz|dcm)")


@dataclass(frozen=True, slots=True)
class Listing:
    """The table of a folder.

    Attributes:
        folder: Where `index.csv` and the files lie.
        header: Its columns.
        files: Those that name files.
    """

    folder: Path
    header: Sequence[str]
    files: Sequence[str]

    def replace(self, rows: Iterable[Sequence[str]]) -> None:
        """Write `index.csv` (mode 0600); files that the last one named and this one does not are deleted."""
        lines = list(rows)
        at = [self.header.index(column) for column in self.files]
        stale = self._named() - {line[column] for line in lines for column in at}
        with whole_file(self.folder / INDEX, private=True) as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(self.header)
            table.writerows(lines)
        for name in stale:
            (self.folder / name).unlink(missing_ok=True)

    def _named(self) -> set[str]:
        """Files that the folder's index.csv names, if their names are of this program's making."""
        try:
            with (self.folder / INDEX).open(encoding="utf-8", newline="") as file:
                names = {row.get(column) or "" for row in csv.DictReader(file) for column in self.files}
        except (OSError, ValueError, csv.Error):
            return set()
        return {name for name in names if OWN_NAME.fullmatch(name)}
