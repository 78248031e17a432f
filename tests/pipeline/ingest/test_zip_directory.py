"""The directory of an archive: whole or refused, wherever it is damaged."""

import struct
import zipfile
import zlib

import numpy as np
import pytest

from pipeline.ingest import zip_directory
from pipeline.ingest.scan_folder import scan_sources
from tests.pipeline.ingest.zips import by_hand, entry, files_of, outcomes, pack


@pytest.mark.parametrize(("at", "junk", "words"), [(0, b"JUNK", "no header"), (30, b"odd", "its header has another")])
def test_a_member_without_its_header_costs_its_own_row(tmp_path, archives, at, junk, words):
    path = by_hand(tmp_path / "a.zip", [(b"bad.txt", b"text", {}), (b"good.txt", b"other text", {})])
    content = bytearray(path.read_bytes())
    content[at : at + len(junk)] = junk
    path.write_bytes(content)
    bad, good = scan_sources([path], archives=archives)
    assert bad.reason.startswith(f"CORRUPT_FILE: {words}")
    assert good.reason.startswith("NOT_AN_IMAGE")


def test_members_that_share_bytes_refuse_the_archive(tmp_path, archives):
    kernel = zlib.compress(b"\0" * 10**6, 9)[2:-4]
    by_hand(tmp_path / "a.zip", [(b"a", b"\0" * 10**6, {"method": 8, "packed": kernel}), (b"a", b"", {"offset": 0})])
    assert outcomes(tmp_path / "a.zip", archives) == {"a.zip": "refused CORRUPT_FILE"}
    assert list(archives.folder.iterdir()) == []


def test_many_entries_are_refused_before_they_cost_memory(tmp_path, archives, monkeypatch):
    monkeypatch.setattr(zip_directory, "MAX_ENTRIES", 20)
    pack(tmp_path / "a.zip", [(f"{n}", b"") for n in range(21)])
    assert outcomes(tmp_path / "a.zip", archives) == {"a.zip": "refused OVER_BUDGET"}


def test_a_directory_that_is_huge_is_not_read(tmp_path, archives, monkeypatch):
    monkeypatch.setattr(zip_directory, "MAX_DIRECTORY_BYTES", 100)
    pack(tmp_path / "a.zip", [("n" * 100, b"")])
    assert outcomes(tmp_path / "a.zip", archives) == {"a.zip": "refused OVER_BUDGET"}


def test_a_damaged_archive_costs_one_row_wherever_it_is_cut(tmp_path, series, archives):
    whole = pack(tmp_path / "whole.zip", files_of(series[:2])).read_bytes()
    (tmp_path / "in").mkdir()
    for length in range(0, len(whole), 97):
        (tmp_path / "in" / "a.zip").write_bytes(whole[:length])
        (told,) = outcomes(tmp_path / "in", archives).values()
        assert told in {"refused EMPTY_FILE", "refused TRUNCATED_FILE", "refused CORRUPT_FILE"}
    (tmp_path / "in" / "a.zip").write_bytes(whole[:-30])
    assert outcomes(tmp_path / "in", archives) == {"a.zip": "refused TRUNCATED_FILE"}


def test_damage_anywhere_never_escapes(tmp_path, series, archives):
    whole = pack(tmp_path / "whole.zip", files_of(series[:2])).read_bytes()
    (tmp_path / "in").mkdir()
    chance = np.random.default_rng(0)
    for _ in range(200):
        content = np.frombuffer(whole, np.uint8).copy()
        at = chance.integers(0, len(whole), 3)
        at[0] = len(whole) - 1 - at[0] % 250  # most of what can go wrong is in the directory
        content[at] = chance.integers(0, 256, 3)
        (tmp_path / "in" / "a.zip").write_bytes(content.tobytes())
        assert set(outcomes(tmp_path / "in", archives).values()) <= {
            "ok",
            "refused CORRUPT_FILE",
            "refused CORRUPT_HEADER",
            "refused OVER_BUDGET",
            "refused UNREADABLE",
            "refused TRUNCATED_FILE",
            "ignored NOT_AN_IMAGE",
            "ignored ARCHIVE",
        }


def test_an_archive_behind_other_bytes_is_read(tmp_path, series, archives):
    whole = pack(tmp_path / "whole.zip", files_of(series)).read_bytes()
    (tmp_path / "self.zip").write_bytes(b"MZ program that unpacks itself" + whole)
    assert outcomes(tmp_path / "self.zip", archives) == {"self.zip": "ok"}


def test_zip64_is_read(tmp_path, series, archives):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_STORED) as archive:
        for name, content in files_of(series):
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(content)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    at = content.rfind(b"PK\5\6")
    size, offset = struct.unpack_from("<2L", content, at + 12)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 10, 10, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    content[at:] = end64 + locator + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    (tmp_path / "a.zip").write_bytes(content)
    assert zipfile.ZipFile(tmp_path / "a.zip").testzip() is None
    assert outcomes(tmp_path / "a.zip", archives) == {"a.zip": "ok"}


def test_sizes_of_64_bits_are_taken_from_the_extra_field(tmp_path, archives):
    local, _ = entry(b"x", b"text")
    common = struct.pack("<5H3L2H", 45, 0, 0, 0, 33, zlib.crc32(b"text"), 2**32 - 1, 2**32 - 1, 1, 20)
    central = b"PK\1\2" + struct.pack("<H", 45) + common + struct.pack("<3H2L", 0, 0, 0, 0, 0) + b"x"
    central += struct.pack("<2H2Q", 1, 16, 4, 4)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local), 0)
    (tmp_path / "a.zip").write_bytes(local + central + end)
    assert outcomes(tmp_path / "a.zip", archives) == {"a.zip/x": "ignored NOT_AN_IMAGE"}
