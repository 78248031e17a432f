"""Archives that lie, are damaged or would do harm: each costs a row, and nothing is written outside."""

import stat
import zlib

import pytest

from pipeline.errors import DiskSpaceError
from pipeline.ingest import unpack as unpacking
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.scan_folder import scan_sources
from tests.pipeline.ingest.zips import by_hand, files_of, outcomes, pack

HOSTILE_NAMES = {
    b"/etc/passwd": "refused CORRUPT_FILE",
    b"../up": "refused CORRUPT_FILE",
    b"a/../../up": "refused CORRUPT_FILE",
    b"..\\..\\up": "refused CORRUPT_FILE",
    b"\\\\server\\share": "refused CORRUPT_FILE",
    b"C:\\windows\\x": "refused CORRUPT_FILE",
    b"c:x": "refused CORRUPT_FILE",
    b"nul\0.dcm": "refused CORRUPT_FILE",
    b"line\nbreak": "refused CORRUPT_FILE",
    b"": "refused CORRUPT_FILE",
    b"folder/": "refused CORRUPT_FILE",
    b"n" * 256: "refused CORRUPT_FILE",
}


def test_hostile_names_cost_a_row_each_and_write_nothing(tmp_path, archives, slices, write):
    good = write(slices.dataset(0), tmp_path / "good").read_bytes()
    entries = [(name, b"text", {}) for name in HOSTILE_NAMES] + [(b"win\\dows\\good", good, {})]
    by_hand(tmp_path / "a.zip", entries)
    before = {path for path in tmp_path.rglob("*") if archives.folder not in path.parents}
    found = outcomes(tmp_path / "a.zip", archives)
    told = {f"a.zip/#{n}": told for n, told in enumerate(HOSTILE_NAMES.values(), start=1)}
    assert found == {**told, "a.zip/win/dows/good": "ok"}
    assert {path for path in tmp_path.rglob("*") if archives.folder not in path.parents} == before | {archives.folder}
    assert len(list(archives.folder.rglob("0*"))) == 1


def test_names_that_are_no_utf8_are_escaped(tmp_path, archives):
    by_hand(tmp_path / "a.zip", [(b"r\xf6ntgen", b"text", {"flags": 1 << 11}), (b"\xc3\xb6", b"text 2", {})])
    assert set(outcomes(tmp_path / "a.zip", archives)) == {"a.zip/r\\xf6ntgen", "a.zip/ö"}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFDIR])
def test_links_and_devices_are_not_made(tmp_path, archives, kind):
    by_hand(tmp_path / "a.zip", [(b"x.dcm", b"../../etc/passwd", {"mode": kind | 0o777})])
    assert outcomes(tmp_path / "a.zip", archives) == {"a.zip/x.dcm": "ignored NOT_AN_IMAGE"}
    assert not list(archives.folder.rglob("0*"))


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"flags": 1}, "UNREADABLE: encrypted"),
        ({"flags": 1 << 6}, "UNREADABLE: encrypted"),
        ({"method": 93}, "UNREADABLE: compressed by method 93"),
        ({"crc": 1}, "CORRUPT_FILE: its checksum"),
        ({"size": 3}, "CORRUPT_FILE: unpacks to more bytes"),
        ({"size": 400}, "CORRUPT_FILE: unpacks to 4 bytes, expected 400"),
        ({"method": 8, "packed": b"\xff\xff"}, "CORRUPT_FILE: its compressed data"),
    ],
)
def test_a_bad_member_costs_its_own_row(tmp_path, archives, claims, words):
    by_hand(tmp_path / "a.zip", [(b"bad.txt", b"text", claims), (b"good.txt", b"other text", {})])
    bad, good = scan_sources([tmp_path / "a.zip"], archives=archives)
    assert (bad.status, good.status) == ("refused", "ignored")
    assert bad.reason.startswith(words)
    assert good.reason.startswith("NOT_AN_IMAGE")


def test_a_slice_with_a_wrong_checksum_refuses_its_series(tmp_path, series, archives, slices, write):
    other = write(slices.dataset(0, SeriesInstanceUID="1.9", SOPInstanceUID="1.9.1"), tmp_path / "o").read_bytes()
    files = [(path.name.encode(), path.read_bytes(), {"crc": 1} if n == 0 else {}) for n, path in enumerate(series)]
    by_hand(tmp_path / "a.zip", [*files, (b"other", other, {})])
    whole, spoilt = sorted(scan_sources([tmp_path / "a.zip"], archives=archives), key=lambda ref: ref.status)
    assert (whole.series_uid, whole.status) == ("1.9", "ok")
    assert (spoilt.series_uid, spoilt.status, len(spoilt.files)) == (slices.uid, "refused", 10)
    assert spoilt.reason.startswith("CORRUPT_FILE: its checksum")


def test_a_wrong_checksum_is_not_forgotten_by_the_catalogue(tmp_path, series, archives):
    by_hand(tmp_path / "a.zip", [(b"x.dcm", series[0].read_bytes(), {"crc": 1})])
    catalog = Catalog("sqlite://")
    for _ in range(2):
        (ref,) = scan_sources([tmp_path / "a.zip"], archives=archives, catalog=catalog)
        assert ref.status == "refused"


def test_two_members_of_one_name_are_both_refused(tmp_path, series, archives):
    by_hand(tmp_path / "a.zip", [(b"x", b"one", {}), (b"x", b"two", {}), (b"y", b"three", {})])
    refs = scan_sources([tmp_path / "a.zip"], archives=archives)
    assert [(ref.source, ref.status) for ref in refs] == [
        ("a.zip/x", "refused"),
        ("a.zip/x", "refused"),
        ("a.zip/y", "ignored"),
    ]


def test_an_archive_in_an_archive_is_not_opened(tmp_path, series, archives):
    inner = pack(tmp_path / "inner.zip", files_of(series)).read_bytes()
    pack(tmp_path / "a.zip", [("inner.zip", inner), ("disguised.dcm", inner), ("plain", inner)])
    assert outcomes(tmp_path / "a.zip", archives) == {
        "a.zip/inner.zip": "ignored ARCHIVE",
        "a.zip/disguised.dcm": "refused NOT_DICOM",
        "a.zip/plain": "ignored ARCHIVE",
    }


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (2**32 - 2, "unpacks to 4294967294 bytes"),
        (100 * 2**20, "times its size"),
    ],
)
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, archives, monkeypatch, size, words):
    monkeypatch.setattr(unpacking, "MAX_BYTES", 2**31)
    by_hand(tmp_path / "a.zip", [(b"bomb", b"x", {"method": 8, "size": size})])
    (ref,) = scan_sources([tmp_path / "a.zip"], archives=archives)
    assert ref.reason.startswith("OVER_BUDGET")
    assert words in ref.reason
    assert list(archives.folder.iterdir()) == []


def test_a_bomb_that_understates_its_size_is_cut_off(tmp_path, archives):
    packed = zlib.compress(b"\0" * 50 * 2**20, 9)[2:-4]
    by_hand(tmp_path / "a.zip", [(b"bomb", b"", {"method": 8, "size": 1000, "packed": packed})])
    (ref,) = scan_sources([tmp_path / "a.zip"], archives=archives)
    assert ref.reason.startswith("CORRUPT_FILE: unpacks to more bytes")
    assert sum(path.stat().st_size for path in archives.folder.rglob("0*")) <= 1000


def test_an_archive_larger_than_the_disk_costs_one_row(tmp_path, series, archives, monkeypatch):
    def full(_folder, _needed):
        raise DiskSpaceError("full")

    monkeypatch.setattr(unpacking, "require_space", full)
    pack(tmp_path / "a.zip", files_of(series))
    assert outcomes(tmp_path / "a.zip", archives) == {"a.zip": "refused OVER_BUDGET"}
