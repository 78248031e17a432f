"""Scanning whole folders: memory, order, what is remembered, what needs no hash."""

import dataclasses
import gc
import tracemalloc

import pytest

from pipeline.errors import Reason
from pipeline.ingest import scan_folder
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.find import find_files
from pipeline.ingest.scan_folder import scan_sources
from pipeline.ingest.spool import Spool


@pytest.fixture
def many(tmp_path, slices, write):
    """Copies one slice as many series of 50, by its bytes."""
    ds = slices.dataset(0, SOPInstanceUID="1.2.3.100000000", SeriesInstanceUID="1.2.4.10000")
    ds.ImagePositionPatient = ["0", "0", "1000"]
    content = write(ds, tmp_path / "template.dcm").read_bytes()
    assert content.count(b"1.2.4.10000") == 1

    def build(name, count):
        folder = tmp_path / name
        folder.mkdir()
        for n in range(count):
            series, k = divmod(n, 50)
            made = content.replace(b"1.2.3.100000000", b"1.2.3.%09d" % (200000000 + n))
            made = made.replace(b"1.2.4.10000", b"1.2.4.%05d" % (20000 + series))
            path = folder / str(series) / f"{n}.dcm"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(made.replace(b"0\\0\\1000", b"0\\0\\%04d" % (2000 + k)))
        return folder

    return build


def test_memory_does_not_grow_with_the_files(many, monkeypatch):
    monkeypatch.setattr(scan_folder, "BATCH", 100)
    monkeypatch.setattr(scan_folder, "Spool", lambda: Spool(100))
    peaks = []
    for name, count in (("warm", 1500), ("few", 500), ("many", 2500)):
        folder = many(name, count)
        gc.collect()
        tracemalloc.start()
        refs = scan_sources([folder])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert [(ref.status, ref.images) for ref in refs] == [("ok", 50)] * (count // 50)
    assert peaks[2] - peaks[1] < 3_000_000  # 2,000 more files: their paths, but not what their headers say


def test_hashes_change_nothing_but_the_content(tmp_path, slices, write, write_all):
    write_all(slices, tmp_path / "a")
    (tmp_path / "copies").mkdir()
    for path in list((tmp_path / "a").iterdir())[:3]:
        (tmp_path / "copies" / path.name).write_bytes(path.read_bytes())
    write(slices.dataset(0, SeriesInstanceUID="1.2.77"), tmp_path / "other" / "b.dcm")
    (tmp_path / "junk.dcm").write_bytes(b"junk")
    hashed, not_hashed = (
        [dataclasses.replace(ref, content="") for ref in scan_sources([tmp_path], hashed=how)] for how in (True, False)
    )
    assert hashed == not_hashed
    assert sum(ref.reason.startswith(Reason.DUPLICATE_FILE) for ref in hashed) == 4  # the slice of 1.2.77 too


def test_files_kept_on_disk_make_the_same_series_as_those_in_memory(tmp_path, slices, write, write_all, monkeypatch):
    write_all(slices, tmp_path / "a")
    for path in list((tmp_path / "a").iterdir())[:4]:
        write(slices.dataset(0, SeriesInstanceUID=f"1.2.8.{path.name[0]}"), tmp_path / "b" / path.name)
        (tmp_path / f"copy of {path.name}").write_bytes(path.read_bytes())
    (tmp_path / "Röntgen").mkdir()
    (tmp_path / "Röntgen" / "junk.dcm").write_bytes(b"junk")
    in_memory = scan_sources([tmp_path])
    monkeypatch.setattr(scan_folder, "Spool", lambda: Spool(3))
    assert scan_sources([tmp_path]) == in_memory
    assert {ref.status for ref in in_memory} == {"ok", "refused", "ignored"}


def test_a_scan_without_hashes_is_not_remembered(tmp_path, slices, write_all):
    write_all(slices, tmp_path / "a")
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    scan_sources([tmp_path / "a"], catalog=catalog, hashed=False)
    (ref,) = scan_sources([tmp_path / "a"], catalog=catalog)
    assert ref.content == scan_sources([tmp_path / "a"])[0].content
    catalog.close()


def test_files_come_in_the_order_of_their_sources(tmp_path):
    for name in ("b.txt", "b/1", "b/2/x", "a-", "a/z", "c", "b-c/1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = [file.source for file in find_files([tmp_path])]
    assert found == sorted(found)
    assert len(found) == 7


def test_a_folder_nested_deeper_than_python_recurses_is_walked(tmp_path):
    deepest = tmp_path
    for _ in range(1200):
        deepest = deepest / "d"
        deepest.mkdir()
    (deepest / "x").write_bytes(b"junk")
    (found,) = find_files([tmp_path])
    assert found.source.count("/") == 1200
    (deepest / "x").unlink()
    while deepest != tmp_path:  # shutil.rmtree recurses, and would fail on it
        deepest.rmdir()
        deepest = deepest.parent
