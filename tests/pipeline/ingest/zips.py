"""Zip archives for the tests: by the standard library, or by hand where they are to lie."""

import struct
import zipfile
import zlib

from pipeline.ingest.scan_folder import scan_sources


def pack(path, files, *, compression=zipfile.ZIP_DEFLATED):
    """A zip of (name, bytes) pairs, by the standard library; ZipInfo in place of a name is taken as it is."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return path


def outcomes(sources, archives):
    refs = scan_sources(sources if isinstance(sources, list) else [sources], archives=archives)
    return {ref.source: f"{ref.status} {ref.reason.partition(':')[0]}".strip() for ref in refs}


def files_of(series, folder=""):
    return [(f"{folder}{path.name}", path.read_bytes()) for path in series]


def entry(name, content, *, method=0, flags=0, size=None, packed=None, crc=None, mode=0, offset=None, at=0):
    """Local header with data, and directory entry, by hand."""
    data = content if packed is None else packed
    size = len(content) if size is None else size
    crc = zlib.crc32(content) if crc is None else crc
    common = struct.pack("<5H3L2H", 20, flags, method, 0, 33, crc, len(data), size, len(name), 0)
    local = b"PK\3\4" + common + name + data
    start = at if offset is None else offset
    central = b"PK\1\2" + struct.pack("<H", 3 << 8) + common + struct.pack("<3H2L", 0, 0, 0, mode << 16, start) + name
    return local, central


def by_hand(path, entries):
    """A zip of entries, each the arguments of `entry`."""
    body, directory = b"", b""
    for name, content, claims in entries:
        local, central = entry(name, content, at=len(body), **claims)
        body, directory = body + local, directory + central
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(entries), len(entries), len(directory), len(body), 0)
    path.write_bytes(body + directory + end)
    return path
