"""The workspace folder: where it keeps what, files that appear whole or not at all, pseudonyms, disk space."""

import contextlib
import errno
import hashlib
import hmac
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from pipeline.errors import BusyError, DiskSpaceError, SourceError

PRIVATE = 0o600
SPARE_BYTES = 200 * 2**20
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
SPREADSHEET = frozenset("=+-@\t\r")  # with what a spreadsheet's formula begins


@contextlib.contextmanager
def whole_file(path: Path, *, mode: str = "w", private: bool = False, synced: bool = True) -> Iterator[IO[Any]]:
    """Open a file that takes its name only when it is complete: written beside, synced, renamed.

    Args:
        path: Final path; its folder is made.
        mode: `w` (UTF-8 text, no newline translation) or `wb`.
        private: Whether only the owner may read it (mode 0600).
        synced: Whether to wait until it is on disk; caches, which can be made again, need not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(3)}.tmp")
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        with open(beside, mode, opener=lambda p, f: os.open(p, f, PRIVATE if private else 0o666), **text) as file:
            yield file
            file.flush()
            if synced:
                os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error  # which says on what disk
        raise
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON; NaN is refused rather than written."""
    with whole_file(path) as file:
        json.dump(record, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def require_space(folder: Path, needed: int) -> None:
    """Check free disk space before work starts.

    Args:
        folder: Where the run will write; it need not exist yet.
        needed: Bytes that the run will write at most.

    Raises:
        DiskSpaceError: If fewer than `needed` bytes and a reserve of 200 MiB are free.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < needed + SPARE_BYTES:
        raise DiskSpaceError(
            f"{folder}: {free / 2**20:.0f} MiB free, about {(needed + SPARE_BYTES) / 2**20:.0f} MiB needed"
        )


def require_writable(folder: Path) -> None:
    """Check before work starts that a folder, which need not exist yet, can be written.

    Raises:
        SourceError: If it, or what it would be made in, is a file or may not be written.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise SourceError(f"{folder}: not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SourceError(f"{folder}: cannot be written")


@contextlib.contextmanager
def exclusive(folder: Path, *, timeout: float = 0) -> Iterator[None]:
    """Hold the lock of a folder for as long as a run writes into it.

    Args:
        folder: It is made.
        timeout: Seconds to wait for another process to let go of it.

    Raises:
        BusyError: If another process holds it.
        SourceError: If its file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=timeout)
    except NotImplementedError as error:
        raise SourceError(f"{folder}: its file system keeps no locks; choose a folder elsewhere") from error
    except Timeout as error:
        raise BusyError(f"{folder}: another run is writing here; wait for it or choose another folder") from error
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder with everything ScanShift keeps between runs.

    Attributes:
        root: The folder; made on first use.
        catalog: SQLAlchemy URL of a catalogue elsewhere; empty for `$SCANSHIFT_CATALOG`, or `catalog.db` here.
    """

    root: Path
    catalog: str = field(default="", repr=False)  # it may hold a password

    @property
    def catalog_url(self) -> str:
        """SQLAlchemy URL of the catalogue."""
        return self.catalog or os.environ.get("SCANSHIFT_CATALOG") or f"sqlite:///{self.root / 'catalog.db'}"

    @property
    def cache(self) -> Path:
        """Prepared slices and features, by content."""
        return self.root / "cache"

    @property
    def prefect_home(self) -> Path:
        """Prefect's database and settings, so that none lie in the user's home."""
        return self.root / "prefect"

    def open(self) -> "Workspace":
        """Make the folder if it is not there, and return the workspace.

        Raises:
            SourceError: If the path is a file or cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.key()
        except (FileExistsError, NotADirectoryError) as error:
            raise SourceError(f"{self.root}: not a folder") from error
        except PermissionError as error:
            raise SourceError(f"{self.root}: cannot be written") from error
        return self

    def key(self) -> bytes:
        """The secret behind this workspace's pseudonyms, made on first use (mode 0600)."""
        path = self.root / "pseudonym.key"
        if not path.exists():
            made = path.with_name(f".{secrets.token_hex(4)}.key")
            with whole_file(made, mode="wb", private=True) as file:
                file.write(secrets.token_bytes(32))
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(made)  # of two runs that start at once, the first to get here wins
            made.unlink()
        return path.read_bytes()

    def run_folder(self, verb: str) -> Path:
        """Make and return `runs/<verb>/<time>-<id>/`."""
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        folder = self.root / "runs" / verb / f"{stamp}-{secrets.token_hex(3)}"
        folder.mkdir(parents=True)
        return folder


def pseudonym(key: bytes, identity: str) -> str:
    """A stable stand-in for an identity: the first 12 hex digits of HMAC-SHA256 under the workspace's key."""
    return hmac.new(key, identity.encode(), hashlib.sha256).hexdigest()[:12]


def safe_cell(text: str) -> str:
    """A CSV cell that no spreadsheet takes for a formula: an apostrophe goes before = + - @, tab and CR."""
    return f"'{text}" if text[:1] in SPREADSHEET else text
