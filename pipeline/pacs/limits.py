"""How much one peer, and all together, may send: limits per association, and the room that is left."""

import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.ingest.find import OWN_FOLDER

GIB = 2**30
RECOUNT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one association may do.

    Attributes:
        associations: How many there may be at once.
        pdu_bytes: Longest protocol data unit that is agreed on and taken.
        object_bytes: Largest object.
        objects: Objects in one association.
        total_bytes: Bytes in one association.
        seconds: How long one association may last.
        idle_seconds: How long it may say nothing.
    """

    associations: int = 16
    pdu_bytes: int = 128 * 2**10
    object_bytes: int = 2 * GIB
    objects: int = 100_000
    total_bytes: int = 200 * GIB
    seconds: float = 6 * 3600
    idle_seconds: float = 60


class Room:
    """Whether more may arrive: enough free disk space, and not too much that waits in the folder.

    Args:
        folder: The incoming folder.
        reserve_bytes: Free disk space that is left alone.
        max_files, max_bytes: Most that may lie in the folder; 0 for no such limit.
    """

    def __init__(self, folder: Path, *, reserve_bytes: int = GIB, max_files: int = 0, max_bytes: int = 0) -> None:
        self._folder = folder
        self._reserve = reserve_bytes
        self._max_files, self._max_bytes = max_files, max_bytes
        self._lock = threading.Lock()
        self._files, self._bytes, self._counted = 0, 0, float("-inf")

    def took(self, size: int) -> None:
        """Note an object that arrived, bytes."""
        with self._lock:
            self._files += 1
            self._bytes += size

    def shortage(self, coming: int = 0) -> str:
        """What there is too little of, for people; empty where more may arrive.

        Args:
            coming: Bytes about to arrive.
        """
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError:
            return "disk, for the folder is not there"
        if free < self._reserve + coming:
            return "disk space"
        with self._lock:
            if (self._max_files or self._max_bytes) and time.monotonic() > self._counted + RECOUNT_SECONDS:
                self._files, self._bytes = _waiting(self._folder)
                self._counted = time.monotonic()
            if self._max_files and self._files >= self._max_files:
                return "room for more files"
            if self._max_bytes and self._bytes + coming > self._max_bytes:
                return "room for more bytes"
        return ""


def _waiting(folder: Path) -> tuple[int, int]:
    """How many files, and bytes, lie in a folder and wait to be worked on."""
    files = size = 0
    for top, folders, names in os.walk(folder):
        if OWN_FOLDER in folders:
            folders.remove(OWN_FOLDER)
        for name in names:
            try:
                size += (Path(top) / name).lstat().st_size
            except FileNotFoundError:  # moved away meanwhile
                continue
            files += 1
    return files, size
