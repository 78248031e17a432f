"""Which files lie below the folders given; nothing is opened here, and links never lead outside."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pipeline.errors import Reason, SourceError

OWN_FOLDER = ".scanshift"
ZIP = ".zip"
ARCHIVES = (ZIP, ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
IGNORED = (Reason.ARCHIVE, Reason.LINK_OUTSIDE, Reason.DUPLICATE_FILE, Reason.NOT_AN_IMAGE)
Zips = Literal["none", "given", "all"]  # which zip archives are to be opened


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file, or one link or special file that is not opened.

    Attributes:
        path: Absolute path.
        source: POSIX path relative to the folder given; a single file given is its own name. Bytes that are
            no UTF-8 are written as backslash escapes.
        reason: Why it is not opened, code first; empty for a file to be read.
        archive: Whether it is a zip archive to be opened, whose members take its place.
        damaged: Whether it is known to be damaged, as `reason` says, but may tell which series it belongs to.
    """

    path: Path
    source: str
    reason: str = ""
    archive: bool = False
    damaged: bool = False

    @property
    def status(self) -> Literal["ok", "refused", "ignored"]:
        """What `reason` makes of it."""
        if not self.reason:
            return "ok"
        return "ignored" if self.reason.startswith(IGNORED) else "refused"


def find_files(sources: Sequence[Path], zips: Zips = "none") -> Iterator[FoundFile]:
    """Walk every folder given, and its sub-folders, in the order of `source`.

    Args:
        sources: Folders and single files.
        zips: Which zip archives are marked to be opened; the others get a reason.

    Raises:
        SourceError: If a path given is missing or cannot be listed.
    """
    for given in sources:
        top = given.absolute()
        if top.is_dir():
            walk = _walk(top, top, top.resolve())
            yield from sorted((_told(found, zips == "all") for found in walk), key=lambda found: found.source)
        elif top.exists():
            yield _told(_found(top, top.name), zips != "none")
        else:
            raise SourceError(f"{given}: no such file or folder")


def _walk(folder: Path, top: Path, real_top: Path) -> Iterator[FoundFile]:
    try:
        with os.scandir(folder) as scan:
            entries = list(scan)
    except OSError as error:
        if folder == top:
            raise SourceError(f"{folder}: cannot be listed ({error.strerror})") from error
        yield FoundFile(folder, _source(folder, top), f"{Reason.UNREADABLE}: folder cannot be listed")
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.is_symlink():
            yield _link(path, _source(path, top), real_top)
        elif not entry.is_dir(follow_symlinks=False):
            yield _found(path, _source(path, top))
        elif entry.name != OWN_FOLDER:
            yield from _walk(path, top, real_top)


def _source(path: Path, top: Path) -> str:
    return os.fsencode(path.relative_to(top).as_posix()).decode("utf-8", "backslashreplace")


def _link(path: Path, source: str, real_top: Path) -> FoundFile:
    try:
        target = path.resolve()
    except (OSError, RuntimeError):  # a link that leads round in a circle
        return FoundFile(path, source, f"{Reason.UNREADABLE}: link leads nowhere")
    if not target.is_relative_to(real_top):
        return FoundFile(path, source, f"{Reason.LINK_OUTSIDE}: link leads outside the folder given")
    if target.is_dir():
        return FoundFile(path, source, f"{Reason.DUPLICATE_FILE}: link to a folder read at its own place")
    if not target.exists():
        return FoundFile(path, source, f"{Reason.UNREADABLE}: link leads nowhere")
    return _found(path, source)


def _found(path: Path, source: str) -> FoundFile:
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return FoundFile(path, source, f"{Reason.UNREADABLE}: file cannot be examined")
    if not regular:
        return FoundFile(path, source, f"{Reason.NOT_AN_IMAGE}: not a regular file")
    if path.name.lower().endswith(ARCHIVES):
        return FoundFile(path, source, f"{Reason.ARCHIVE}: archive, not opened; unpack it first", archive=True)
    return FoundFile(path, source)


def _told(found: FoundFile, opened: bool) -> FoundFile:
    """The file as it is; an archive as one to be opened, or with the reason why not."""
    if not found.archive:
        return found
    if opened and found.path.name.lower().endswith(ZIP):
        return replace(found, reason="")
    return replace(found, archive=False)
