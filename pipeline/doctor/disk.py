"""Disk space where a workspace lies, and whether its cache may grow to its cap."""

import shutil
from pathlib import Path

from pipeline.doctor.finding import Level, Told, check
from pipeline.prepare.cache import CAP_BYTES
from pipeline.workspace import SPARE_BYTES, Workspace, require_writable

GIB = 2**30


@check("disk")
def check_disk(space: Workspace, *, cap_bytes: int = CAP_BYTES, spare_bytes: int = SPARE_BYTES) -> Told:
    """Whether the folder can be written and has room for the cache up to its cap.

    Args:
        space: The workspace, which need not be there yet.
        cap_bytes: Cap of its cache.
        spare_bytes: Below this no run starts.
    """
    require_writable(space.root)
    there = space.root.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    used = _size(space.cache)
    words = f"{free / GIB:.1f} GiB free, cache {used / GIB:.1f} of at most {cap_bytes / GIB:.0f} GiB"
    if free < spare_bytes:
        return Level.BROKEN, f"{words}; no run starts below {spare_bytes / 2**20:.0f} MiB"
    if free < spare_bytes + max(0, cap_bytes - used):
        return Level.WARNING, f"{words}: the disk is full before the cache is"
    if used > cap_bytes:
        return Level.WARNING, f"{words}; scanshift workspace clean brings it under its cap"
    return Level.OK, words


def _size(folder: Path) -> int:
    """Bytes of the files below a folder; those that go meanwhile are not counted."""
    total = 0
    for path in folder.rglob("*"):
        try:
            state = path.lstat()
        except FileNotFoundError:
            continue
        total += 0 if path.is_dir() else state.st_size
    return total
