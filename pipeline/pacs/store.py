"""The incoming folder: objects take their names only when they are whole and on disk, and never lie outside it."""

import hashlib
import hmac
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from filelock import FileLock

from pipeline.ingest.find import OWN_FOLDER
from pipeline.pacs.object_ids import ObjectIds, read_ids
from pipeline.workspace import Workspace, exclusive

BLOCK = 2**20
PRIVATE_FOLDER = 0o700


class Kept(StrEnum):
    """What became of an object."""

    STORED = "stored"
    REPEATED = "repeated"  # the same object lies here already
    DIFFERENT = "different"  # another object of the same UID lies here; the first is kept


class IncomingStore:
    """A folder that objects arrive in, `<series>/<object>.dcm`, both names keyed hashes of UIDs.

    Args:
        folder: The incoming folder; it and its own folder `.scanshift` are made.
        role: Who writes: `listen` or `pull`. Each has its own place for what is not whole yet.

    Raises:
        SourceError: If it is a file or cannot be written.
    """

    def __init__(self, folder: Path, role: str) -> None:
        space = Workspace(folder / OWN_FOLDER).open()
        self.folder = folder
        self.own = space.root
        self.receiving = self.own / role / "receiving"
        self.receiving.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        self._key = space.key()
        self._here = threading.Lock()
        self._elsewhere = FileLock(self.own / "names.lock", thread_local=False)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Be the only one who writes in this role; what a killed run left half received is deleted.

        Raises:
            BusyError: If another process writes in this role.
        """
        with exclusive(self.receiving.parent):
            for path in self.receiving.iterdir():
                path.unlink(missing_ok=True)
            yield

    def new_part(self) -> Path:
        """An empty file to receive an object into, on the disk where it will stay (mode 0600)."""
        handle, name = tempfile.mkstemp(dir=self.receiving, suffix=".part")
        os.close(handle)
        return Path(name)

    def series_folder(self, series: str) -> Path:
        """Where objects of a series lie."""
        return self.folder / self.name("series", series)[:16]

    def name(self, kind: str, identity: str) -> str:
        """Keyed pseudonym of a UID, 32 hex digits: HMAC-SHA256 under this folder's own key."""
        return hmac.new(self._key, f"{kind}:{identity}".encode(), hashlib.sha256).hexdigest()[:32]

    def held(self, series: str) -> int:
        """How many objects of a series lie here."""
        folder = self.series_folder(series)
        return sum(path.suffix == ".dcm" for path in folder.iterdir()) if folder.is_dir() else 0

    def keep(self, part: Path, ids: ObjectIds) -> Kept:
        """Give a received object its name; on return it survives a power cut. The part is gone in any case.

        Raises:
            OSError: If the disk fails or is full.
        """
        try:
            _sync(part)
            folder = self.series_folder(ids.series)
            final = folder / f"{self.name('object', ids.sop_instance)}.dcm"
            with self._here, self._elsewhere:
                if final.exists():
                    return Kept.REPEATED if _same(part, ids, final) else Kept.DIFFERENT
                made = not folder.exists()
                folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
                part.rename(final)
            _sync(folder)
            if made:
                _sync(self.folder)
            return Kept.STORED
        finally:
            part.unlink(missing_ok=True)


def _same(part: Path, ids: ObjectIds, final: Path) -> bool:
    """Whether two files hold the same data set, byte for byte, in the same transfer syntax."""
    there = read_ids(final)
    with part.open("rb") as new, final.open("rb") as old:
        new.seek(ids.start)
        old.seek(there.start)
        while True:
            first, second = new.read(BLOCK), old.read(BLOCK)
            if first != second:
                return False
            if not first:
                return there.syntax == ids.syntax


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
