"""One zip archive into one folder: names of our own, every claim of the archive checked, one record per member."""

import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pipeline.errors import DiskSpaceError, Reason, ScanError
from pipeline.ingest.find import ARCHIVES
from pipeline.ingest.zip_directory import Member, data_offset, read_directory
from pipeline.workspace import PRIVATE, require_space, whole_file

MAX_BYTES = 20 * 2**30
MAX_RATIO = 200
HARMLESS_BYTES = 64 * 2**20  # what unpacks to less is no bomb, however well it was packed
MAX_NAME_BYTES = 255  # of one part of a path
CHUNK = 2**18
STORED, DEFLATED = 0, 8
ENCRYPTED = 1 | 1 << 6 | 1 << 13
INDEX = "members.json"
SUFFIXES = (".nii.gz", ".nii", ".dcm", ".dicom", ".ima", ".png", ".jpg", ".jpeg")  # they decide how a file is told


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What became of one member.

    Attributes:
        name: Its name, POSIX; empty where it is not to be trusted.
        file: The file it became, within the folder; empty where there is none.
        size: Bytes of that file.
        reason: What is wrong with it, code first; empty if nothing is.
    """

    name: str
    file: str
    size: int
    reason: str


def unpack(path: Path, folder: Path) -> list[Unpacked]:
    """Unpack every member that is a file, and note in the folder what became of each.

    Args:
        path: The archive.
        folder: Made here, mode 0700, in one that is there.

    Raises:
        ScanError: If the archive as a whole cannot be read, or claims too much.
        OSError: If it cannot be read, or the folder cannot be written.
    """
    with path.open("rb") as file:
        members = read_directory(file)
        _require_room(members, os.fstat(file.fileno()).st_size, folder.parent)
        folder.mkdir(mode=0o700)
        names = Counter(member.name for member in members)
        files = [member for member in members if not member.is_folder]
        records = [_unpack_member(file, member, names[member.name], folder) for member in files]
    with whole_file(folder / INDEX, private=True, synced=False) as index:
        json.dump([astuple(record) for record in records], index)
    return records


def unpacked_before(folder: Path) -> list[Unpacked] | None:
    """What `unpack` noted, if all of it is still there."""
    try:
        records = [Unpacked(*line) for line in json.loads((folder / INDEX).read_text(encoding="utf-8"))]
        if any((folder / record.file).stat().st_size != record.size for record in records if record.file):
            return None
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return records


def _require_room(members: Sequence[Member], packed: int, folder: Path) -> None:
    """Check what the archive claims to unpack to; no member may exceed its claim later."""
    total = sum(member.size for member in members)
    if total > MAX_BYTES:
        raise ScanError(Reason.OVER_BUDGET, f"unpacks to {total} bytes, at most {MAX_BYTES} are unpacked")
    if total > HARMLESS_BYTES and total > MAX_RATIO * packed:
        raise ScanError(Reason.OVER_BUDGET, f"unpacks to {total // packed} times its size, at most {MAX_RATIO} times")
    try:
        require_space(folder, total)
    except DiskSpaceError as error:  # the archive's claim must not end the run
        words = f"unpacks to {total / 2**20:.0f} MiB, more than there is free disk space"
        raise ScanError(Reason.OVER_BUDGET, words) from error


def _unpack_member(archive: BinaryIO, member: Member, of_this_name: int, folder: Path) -> Unpacked:
    """Unpack one member under a name of our own; what is damaged is kept, so that its series is refused with it."""
    misnamed = _misnamed(member)
    told = "" if misnamed else member.name
    reason = misnamed or _unopened(member)
    if reason:
        return Unpacked(told, "", 0, reason)
    suffix = next((known for known in SUFFIXES if member.name.lower().endswith(known)), "")
    name = f"{member.number:06d}{suffix}"
    written = 0
    with open(folder / name, "xb", opener=lambda p, f: os.open(p, f, PRIVATE)) as out:
        try:
            for chunk in _inflated(archive, member):
                written += out.write(chunk)
        except ScanError as error:
            reason = str(error)
    if of_this_name > 1:
        reason = reason or f"{Reason.CORRUPT_FILE}: {of_this_name} members of one name in the archive, expected one"
    return Unpacked(told, name, written, reason)


def _misnamed(member: Member) -> str:
    """Why a member's name is not to be trusted; empty if it may."""
    parts = PurePosixPath(member.name).parts
    outside = member.name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", member.name)
    if outside:
        return f"{Reason.CORRUPT_FILE}: its name in the archive leads outside; not unpacked"
    if not parts or member.name.endswith("/") or re.search(r"[\x00-\x1f\x7f]", member.name):
        return f"{Reason.CORRUPT_FILE}: its name in the archive is no file name; not unpacked"
    if max(map(len, member.raw.replace(b"\\", b"/").split(b"/"))) > MAX_NAME_BYTES:
        return f"{Reason.CORRUPT_FILE}: its name in the archive is longer than {MAX_NAME_BYTES} bytes; not unpacked"
    return ""


def _unopened(member: Member) -> str:
    """Why a member is not unpacked; empty if it is."""
    if member.is_special:
        return f"{Reason.NOT_AN_IMAGE}: a link or special file in an archive; not unpacked"
    if member.flags & ENCRYPTED:
        return f"{Reason.UNREADABLE}: encrypted; unpack the archive with its password first"
    if member.name.lower().endswith(ARCHIVES):
        return f"{Reason.ARCHIVE}: an archive within an archive, not opened; unpack it first"
    if member.method not in (STORED, DEFLATED):
        return f"{Reason.UNREADABLE}: compressed by method {member.method}, expected 0 (stored) or 8 (deflated)"
    return ""


def _inflated(archive: BinaryIO, member: Member) -> Iterator[bytes]:
    """A member's bytes, never more than it claims.

    Raises:
        ScanError: CORRUPT_FILE if they are more or fewer than it claims, or their CRC-32 is another.
    """
    archive.seek(data_offset(archive, member))
    count, crc = 0, 0
    try:
        for chunk in _chunks(archive, member):
            if count + len(chunk) > member.size:
                raise ScanError(Reason.CORRUPT_FILE, "unpacks to more bytes than the archive says")
            count, crc = count + len(chunk), zlib.crc32(chunk, crc)
            yield chunk
    except zlib.error as error:
        raise ScanError(Reason.CORRUPT_FILE, "its compressed data in the archive is damaged") from error
    if count != member.size:
        raise ScanError(Reason.CORRUPT_FILE, f"unpacks to {count} bytes, expected {member.size}")
    if crc != member.crc:
        raise ScanError(Reason.CORRUPT_FILE, "its checksum is not the one in the archive")


def _chunks(archive: BinaryIO, member: Member) -> Iterator[bytes]:
    """Pieces of at most 256 KiB."""
    left = member.packed
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while left and (packed := archive.read(min(left, CHUNK))):
        left -= len(packed)
        if member.method == STORED:
            yield packed
            continue
        while packed:
            piece = inflater.decompress(packed, CHUNK)
            packed = inflater.unconsumed_tail
            yield piece
            if inflater.eof:
                return
    if member.method == DEFLATED:
        yield inflater.flush()
