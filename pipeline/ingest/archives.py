"""Where zip archives are unpacked, for how long, and what their members are called."""

import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import Reason, ScanError
from pipeline.ingest.faults import FAULTS, scan_error
from pipeline.ingest.find import OWN_FOLDER, FoundFile
from pipeline.ingest.unpack import MAX_BYTES, Unpacked, unpack, unpacked_before
from pipeline.workspace import Workspace

IN_USE_SECONDS = 3 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Archives:
    """Where zip archives are unpacked, and which.

    Attributes:
        folder: A private folder; one sub-folder for each archive, named by the SHA-256 of its bytes.
        everywhere: Whether archives found in folders are opened as well, not only those given.
    """

    folder: Path
    everywhere: bool = False


def workspace_archives(workspace: Workspace, *, everywhere: bool) -> Archives:
    """Archives unpacked in a workspace's cache, where they stay for the next run; a walk never enters the folder."""
    return Archives(workspace.cache / "archives" / OWN_FOLDER, everywhere)


@contextlib.contextmanager
def passing_archives(*, everywhere: bool) -> Iterator[Archives]:
    """Archives unpacked in a temporary folder (mode 0700), which goes at the end of the `with` block."""
    with tempfile.TemporaryDirectory(prefix="scanshift-") as folder:
        yield Archives(Path(folder), everywhere)


def hash_archive(path: Path) -> str:
    """SHA-256 of an archive's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_archive(found: FoundFile, sha256: str, archives: Archives) -> list[FoundFile]:
    """The members of one archive, unpacked unless they are there already; nothing that it holds makes this raise.

    Args:
        found: The archive.
        sha256: Of its bytes.
        archives: Where to unpack.

    Returns:
        One entry per member that is a file; one for the archive itself where it cannot be unpacked at all.
    """
    target = archives.folder / sha256
    try:
        records = _unpacked(found.path, target)
    except ScanError as error:
        return [FoundFile(found.path, found.source, str(error))]
    except FAULTS as error:
        return [FoundFile(found.path, found.source, str(scan_error(error, Reason.UNREADABLE)))]
    if not records:
        return [FoundFile(found.path, found.source, f"{Reason.ARCHIVE}: an archive without files")]
    return [_member(found, target, n, record) for n, record in enumerate(records, start=1)]


def trim_archives(folder: Path, cap_bytes: int) -> int:
    """Delete whole unpacked archives, used longest ago first, until the folder is under its cap.

    Those used within three days stay: a run may still read them.

    Returns:
        Bytes deleted.
    """
    units = []
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError):  # another run may be trimming too
            units.append((path.stat().st_mtime, sum(file.stat().st_size for file in path.iterdir()), path))
    total, deleted = sum(size for _, size, _ in units), 0
    for used, size, path in sorted(units):
        if total - deleted <= cap_bytes or time.time() - used < IN_USE_SECONDS:
            break
        shutil.rmtree(path, ignore_errors=True)
        deleted += size
    return deleted


def _member(archive: FoundFile, target: Path, number: int, record: Unpacked) -> FoundFile:
    """A name that is not trusted is not told either: such a member goes by its number."""
    source = f"{archive.source}/{record.name or f'#{number}'}"
    path = target / record.file if record.file else archive.path / f"#{number}"
    return FoundFile(path, source, record.reason, damaged=bool(record.file and record.reason))


def _unpacked(path: Path, target: Path) -> list[Unpacked]:
    """Unpack beside the target, then rename, so that a folder of that name is whole."""
    records = unpacked_before(target)
    if records is not None:
        os.utime(target)
        return records
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    trim_archives(target.parent, MAX_BYTES)
    beside = target.with_name(f"{target.name[:16]}-{os.getpid()}-{secrets.token_hex(3)}.tmp")
    try:
        records = unpack(path, beside)
        if unpacked_before(target) is None:  # else another run was quicker, with the same files
            shutil.rmtree(target, ignore_errors=True)
        with contextlib.suppress(OSError):
            beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return records
