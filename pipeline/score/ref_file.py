"""Files of series references: one JSON object with a series a line, written and read series by series."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.scan import SeriesRef
from pipeline.workspace import whole_file


@dataclass(frozen=True, slots=True)
class RefFile:
    """A file that `write_refs` wrote; each walk over it reads it anew, so that memory does not grow with it.

    Attributes:
        path: The file.
        about: What stands beside the series.
    """

    path: Path
    about: dict[str, Any]

    def __iter__(self) -> Iterator[SeriesRef]:
        with self.path.open(encoding="utf-8") as file:
            next(file)
            for line in file:
                if line.startswith("]"):
                    return
                record = json.loads(line.rstrip().removesuffix(","))
                yield SeriesRef(**{**record, "files": tuple(record["files"]), "shape": tuple(record["shape"])})
        raise ValueError(f"{self.path.name} ends early")


def write_refs(path: Path, refs: Iterable[SeriesRef], **about: Any) -> None:
    """Write series, and what is to be known of them all, into a file with mode 0600."""
    with whole_file(path, private=True) as file:
        file.write(json.dumps({**about, "series": []})[:-2])
        for n, ref in enumerate(refs):
            record = {name: getattr(ref, name) for name in SeriesRef.__slots__}
            file.write(f"{',' if n else ''}\n{json.dumps(record)}")
        file.write("\n]}\n")


def read_refs(path: Path) -> RefFile:
    """Open what `write_refs` wrote."""
    with path.open(encoding="utf-8") as file:
        about = json.loads(f"{next(file).rstrip()}]}}")
    del about["series"]
    return RefFile(path, about)
