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
            yield from (_told(found, zips == "all") for found in _walk(top))
        elif top.exists():
            yield _told(_found(top, top.name), zips != "none")
        else:
            raise SourceError(f"{given}: no such file or folder")


def _walk(top: Path) -> Iterator[FoundFile]:
    """Everything below a folder, in the order of `source`, with no more in memory than the folders on the way."""
    real_top = top.resolve()
    try:
        levels = [iter(_entries(top, ""))]
    except OSError as error:
        raise SourceError(f"{top}: cannot be listed ({error.strerror})") from error
    while levels:
        for source, entry in levels[-1]:
            path = Path(entry.path)
            if entry.is_symlink():
                yield _link(path, source, real_top)
            elif not entry.is_dir(follow_symlinks=False):
                yield _entry(entry, path, source)
            elif entry.name != OWN_FOLDER:
                try:
                    levels.append(iter(_entries(path, f"{source}/")))
                except OSError:
                    yield FoundFile(path, source, f"{Reason.UNREADABLE}: folder cannot be listed")
                else:
                    break
        else:
            levels.pop()


def _entries(folder: Path, prefix: str) -> list[tuple[str, os.DirEntry[str]]]:
    """What a folder holds, with the source of each; folders sort as if their names ended with a slash."""
    with os.scandir(folder) as scan:
        found = [(prefix + os.fsencode(entry.name).decode("utf-8", "backslashreplace"), entry) for entry in scan]
    return sorted(found, key=lambda item: f"{item[0]}/" if item[1].is_dir(follow_symlinks=False) else item[0])


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
    return _file(path, source, regular)


def _entry(entry: os.DirEntry[str], path: Path, source: str) -> FoundFile:
    try:
        return _file(path, source, entry.is_file(follow_symlinks=False))
    except OSError:
        return FoundFile(path, source, f"{Reason.UNREADABLE}: file cannot be examined")


def _file(path: Path, source: str, regular: bool) -> FoundFile:
    if not regular:
        return FoundFile(path, source, f"{Reason.NOT_AN_IMAGE}: not a regular file")
    if source.lower().endswith(ARCHIVES):
        return FoundFile(path, source, f"{Reason.ARCHIVE}: archive, not opened; unpack it first", archive=True)
    return FoundFile(path, source)


def _told(found: FoundFile, opened: bool) -> FoundFile:
    """The file as it is; an archive as one to be opened, or with the reason why not."""
    if not found.archive:
        return found
    if opened and found.path.name.lower().endswith(ZIP):
        return replace(found, reason="")
    return replace(found, archive=False)
