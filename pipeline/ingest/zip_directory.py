"""The directory of a zip archive, read with limits: names and sizes are claims until `archives` has counted bytes.

The standard library's reader allocates a record for every entry before any can be counted, and gives up on the
whole archive over one bad name, so the few fields needed are read here.
"""

import io
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

from pipeline.errors import Reason, ScanError

MAX_ENTRIES = 100_000
MAX_DIRECTORY_BYTES = 64 * 2**20
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR_BYTES = 20
ENTRY = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
LONGEST_COMMENT = 2**16 - 1
IN_EXTRA = 2**32 - 1
ZIP64_FIELD = 1
UNIX = 3


@dataclass(frozen=True, slots=True)
class Member:
    """One entry, as the directory claims it.

    Attributes:
        number: Its place in the directory, from 1.
        raw: The name's bytes.
        flags, method, crc: General purpose flags, compression method, CRC-32.
        packed, size: Bytes in the archive, and bytes when unpacked.
        offset: Of the local header, from the start of the file.
        mode: Unix file mode; 0 where the archive was not made by Unix.
    """

    number: int
    raw: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int

    @property
    def name(self) -> str:
        """The name with POSIX separators; some writers of Windows put backslashes. What is no UTF-8 is escaped."""
        return self.raw.replace(b"\\", b"/").decode("utf-8", "backslashreplace")

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, which holds nothing itself."""
        return self.name.endswith("/") and not self.size

    @property
    def is_special(self) -> bool:
        """Whether it claims to be a link, device or anything else but a file."""
        kind = stat.S_IFMT(self.mode)
        return kind not in (0, stat.S_IFREG)


def read_directory(file: BinaryIO) -> list[Member]:
    """Read all entries.

    Raises:
        ScanError: TRUNCATED_FILE or CORRUPT_FILE if it is no whole archive, OVER_BUDGET if it lists too much.

    Source:
        PKWARE, APPNOTE.TXT 6.3.10, sections 4.3.7 to 4.3.16.
    """
    start, size, shift = _locate(file)
    if size > MAX_DIRECTORY_BYTES:
        raise ScanError(Reason.OVER_BUDGET, f"directory of {size} bytes, at most {MAX_DIRECTORY_BYTES} are read")
    file.seek(start)
    members = list(_entries(file.read(size), shift))
    _require_apart(members, start)
    return members


def data_offset(file: BinaryIO, member: Member) -> int:
    """Where a member's packed bytes begin.

    Raises:
        ScanError: CORRUPT_FILE if its local header is not there or has another name than the directory.
    """
    file.seek(member.offset)
    head = file.read(LOCAL.size)
    if len(head) < LOCAL.size or head[:4] != b"PK\3\4":
        raise ScanError(Reason.CORRUPT_FILE, "no header where the directory of the archive says")
    name_length, extra_length = (int(length) for length in LOCAL.unpack(head)[-2:])
    if file.read(name_length) != member.raw:
        raise ScanError(Reason.CORRUPT_FILE, "its header has another name than the directory of the archive")
    return member.offset + LOCAL.size + name_length + extra_length


def _locate(file: BinaryIO) -> tuple[int, int, int]:
    """Offset and size of the directory, and how many bytes of something else precede the archive."""
    end = file.seek(0, os.SEEK_END)
    if not end:
        raise ScanError(Reason.EMPTY_FILE, "the file is empty")
    tail_at = max(0, end - END.size - LONGEST_COMMENT)
    file.seek(tail_at)
    tail = file.read()
    at = tail.rfind(b"PK\5\6", 0, max(0, len(tail) - END.size) + 4)
    if at < 0:
        file.seek(0)
        if file.read(4) == b"PK\3\4":
            raise ScanError(Reason.TRUNCATED_FILE, "the archive ends before its directory; copy or send it again")
        raise ScanError(Reason.CORRUPT_FILE, "no zip archive although its name says so")
    _, disk, first_disk, _, _, size, offset, _ = END.unpack_from(tail, at)
    stop = tail_at + at
    locator = stop - LOCATOR_BYTES - END64.size
    if locator >= 0:
        file.seek(locator)
        record = file.read(END64.size + 4)
        if record[:4] == b"PK\6\6" and record[END64.size :] == b"PK\6\7":
            *_, size, offset = END64.unpack_from(record)
            stop = locator
    if disk != first_disk or disk not in (0, 0xFFFF):
        raise ScanError(Reason.CORRUPT_FILE, "one part of a split archive; join the parts first")
    start = stop - size
    if start < 0 or offset > start:
        raise ScanError(Reason.CORRUPT_FILE, "the directory of the archive does not lie where its end says")
    return start, size, start - offset


def _entries(directory: bytes, shift: int) -> Iterator[Member]:
    at, number = 0, 0
    while at < len(directory):
        if at + ENTRY.size > len(directory) or directory[at : at + 4] != b"PK\1\2":
            raise ScanError(Reason.CORRUPT_FILE, f"entry {number + 1} of the archive's directory is damaged")
        number += 1
        if number > MAX_ENTRIES:
            raise ScanError(Reason.OVER_BUDGET, f"more than {MAX_ENTRIES} entries in one archive; unpack it first")
        fields = ENTRY.unpack_from(directory, at)
        _, made_by, _, flags, method, _, _, crc, packed, size, n_name, n_extra, n_comment, _, _, outside, offset = (
            fields
        )
        names_at = at + ENTRY.size
        extra = directory[names_at + n_name : names_at + n_name + n_extra]
        size, packed, offset = _wide([size, packed, offset], extra)
        raw = directory[names_at : names_at + n_name]
        mode = outside >> 16 if made_by >> 8 == UNIX else 0
        yield Member(number, raw, flags, method, crc, packed, size, offset + shift, mode)
        at = names_at + n_name + n_extra + n_comment


def _wide(values: list[int], extra: bytes) -> list[int]:
    """Sizes and offset with those that need 64 bits taken from the extra field."""
    stream = io.BytesIO(extra)
    while len(head := stream.read(4)) == 4:
        kind, length = struct.unpack("<2H", head)
        body = stream.read(length)
        if kind == ZIP64_FIELD:
            wide = [number for (number,) in struct.iter_unpack("<Q", body[: len(body) // 8 * 8])]
            return [wide.pop(0) if value == IN_EXTRA and wide else value for value in values]
    return values


def _require_apart(members: Sequence[Member], directory_at: int) -> None:
    """Check that no bytes of the archive belong to two members: that is how small archives unpack to huge ones."""
    spans = sorted((m.offset, m.offset + LOCAL.size + len(m.raw) + m.packed) for m in members)
    for (_, end), (start, _) in pairwise([*spans, (directory_at, directory_at)]):
        if end > start:
            raise ScanError(Reason.CORRUPT_FILE, "members of the archive overlap, or lie behind its end")
