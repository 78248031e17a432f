"""Prepared slices on disk, by content and settings, so that a series is decoded once."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import ScanError
from pipeline.ingest.archives import trim_archives
from pipeline.ingest.find import OWN_FOLDER
from pipeline.ingest.read import read_scan
from pipeline.prepare.samples import Preparation, prepare
from pipeline.scan import SeriesRef
from pipeline.workspace import whole_file

CAP_BYTES = 20 * 2**30


@dataclass(frozen=True, slots=True)
class SampleStore:
    """Prepared samples of one preparation, in files below a folder.

    Attributes:
        folder: The cache folder of the workspace.
        preparation: How samples are made.
    """

    folder: Path
    preparation: Preparation

    def path(self, content: str) -> Path:
        """Where the sample of a series with this content lies."""
        key = hashlib.sha256(f"{content}|{self.preparation.digest()}".encode()).hexdigest()
        return self.folder / "prepared" / key[:2] / f"{key[2:]}.npy"

    def load(self, content: str, *, mapped: bool = False) -> npt.NDArray[np.uint16]:
        """Slices (N, C, S, S) of a series that is in the store; `mapped` reads from disk only what is looked at."""
        mode: Literal["r"] | None = "r" if mapped else None
        slices: npt.NDArray[np.uint16] = np.load(self.path(content), mmap_mode=mode, allow_pickle=False)
        return slices

    def add(self, ref: SeriesRef) -> None:
        """Read and prepare a series, unless it is there already.

        A harmonised sample is made from the plain one, which is made and kept too: however many standards are
        tried on a series, it is decoded once.

        Raises:
            ScanError: If the series cannot be trusted or is of another kind.
        """
        path = self.path(ref.key)
        if path.exists():
            os.utime(path)
            return
        if self.preparation.harmonise is None:
            slices = prepare(read_scan(ref), self.preparation).slices
        else:
            plain = SampleStore(self.folder, self.preparation.plain())
            plain.add(ref)
            slices = self.preparation.harmonise.apply(plain.load(ref.key))
        with whole_file(path, mode="wb", synced=False) as file:
            np.save(file, slices, allow_pickle=False)

    def fill(self, refs: Sequence[SeriesRef], progress: Callable[[int], None] | None = None) -> Mapping[str, str]:
        """Prepare many series; one that cannot be read stops nothing.

        Returns:
            Content to reason, for those that were refused.
        """
        refused: dict[str, str] = {}
        for ref in refs:
            try:
                self.add(ref)
            except ScanError as error:
                refused[ref.key] = str(error)
            if progress:
                progress(1)
        return refused


def trim(folder: Path, *, cap_bytes: int = CAP_BYTES, keep: Iterable[Path] = ()) -> int:
    """Delete the files used longest ago until a folder is under its cap; unpacked archives have the same cap apart.

    Returns:
        Bytes deleted.
    """
    kept, unpacked = set(keep), folder / "archives" / OWN_FOLDER
    found: list[tuple[float, int, Path]] = []
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # another run may be trimming too
            if path.is_file() and path not in kept and not path.is_relative_to(unpacked):
                state = path.stat()
                found.append((state.st_mtime, state.st_size, path))
    total = sum(size for _, size, _ in found)
    freed = 0
    for _, size, path in sorted(found):
        if total - freed <= cap_bytes:
            break
        path.unlink(missing_ok=True)
        freed += size
    return freed + trim_archives(unpacked, cap_bytes)
