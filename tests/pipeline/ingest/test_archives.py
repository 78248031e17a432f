"""Zip archives: what is in them is read as if it lay in a folder, and stays unpacked for as long as it is of use."""

import contextlib
import hashlib
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from pipeline.ingest import unpack as unpacking
from pipeline.ingest.archives import Archives, passing_archives, trim_archives, workspace_archives
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.convert import convert
from pipeline.ingest.intake import take_in
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from pipeline.prepare.cache import trim
from pipeline.prepare.template import write_template
from pipeline.watch import Watch
from pipeline.workspace import Workspace
from tests.pipeline.ingest.zips import files_of, outcomes, pack


def test_a_zip_given_is_read_as_its_folder_would_be(tmp_path, series, archives, slices):
    path = pack(tmp_path / "study.zip", files_of(series, "inner/deep/"))
    (ref,) = scan_sources([path], archives=Archives(archives.folder))
    scan = read_scan(ref)
    assert (ref.source, ref.series_uid) == ("study.zip/inner/deep", slices.uid)
    np.testing.assert_array_equal(scan.voxels, slices.values)
    np.testing.assert_allclose(scan.affine, slices.affine)


def test_a_zip_in_a_folder_needs_the_option(tmp_path, series, archives):
    (tmp_path / "in").mkdir()
    pack(tmp_path / "in" / "a.ZIP", files_of(series))
    assert outcomes(tmp_path / "in", None) == {"a.ZIP": "ignored ARCHIVE"}
    assert outcomes(tmp_path / "in", Archives(archives.folder)) == {"a.ZIP": "ignored ARCHIVE"}
    assert outcomes(tmp_path / "in", archives) == {"a.ZIP": "ok"}


def test_a_tar_is_ignored_even_when_given(tmp_path, archives):
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8b")
    assert outcomes(tmp_path / "a.tar.gz", archives) == {"a.tar.gz": "ignored ARCHIVE"}


def test_slices_in_a_folder_and_in_a_zip_beside_it_make_one_series(tmp_path, series, archives, slices):
    pack(tmp_path / "series" / "rest.zip", files_of(series[5:]))
    for path in series[5:]:
        path.unlink()
    (ref,) = scan_sources([tmp_path / "series"], archives=archives)
    assert ref.source == "."
    np.testing.assert_array_equal(read_scan(ref).voxels, slices.values)


def test_unpacked_files_are_private_and_named_by_us(tmp_path, series, archives):
    pack(tmp_path / "a.zip", [("Secret^Name/scan.DCM", series[0].read_bytes()), ("x/brain.nii.gz", b"1"), ("y", b"2")])
    scan_sources([tmp_path / "a.zip"], archives=archives)
    folders = [archives.folder, *archives.folder.iterdir()]
    files = [path for folder in folders for path in folder.iterdir() if path.is_file()]
    assert sorted(path.name for path in files) == ["000001.dcm", "000002.nii.gz", "000003", "members.json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    assert [folder.name for folder in folders[1:]] == [hashlib.sha256((tmp_path / "a.zip").read_bytes()).hexdigest()]


def test_an_unchanged_archive_is_neither_read_nor_unpacked_again(tmp_path, series, archives, monkeypatch):
    path = pack(tmp_path / "a.zip", files_of(series))
    catalog = Catalog("sqlite://")
    first = scan_sources([path], archives=archives, catalog=catalog)
    state = path.stat()
    path.write_bytes(b"\0" * state.st_size)  # a reader would notice
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert scan_sources([path], archives=archives, catalog=catalog) == first


def test_what_is_missing_is_unpacked_again(tmp_path, series, archives):
    path = pack(tmp_path / "a.zip", files_of(series))
    (ref,) = scan_sources([path], archives=archives)
    Path(ref.files[3]).unlink()
    (again,) = scan_sources([path], archives=archives)
    assert read_scan(again).voxels.shape == (5, 6, 10)


def test_an_interrupted_unpacking_leaves_nothing_behind(tmp_path, series, archives, monkeypatch):
    path = pack(tmp_path / "a.zip", files_of(series))

    def interrupt(_archive, _member):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(unpacking, "_inflated", interrupt)
        with pytest.raises(KeyboardInterrupt):
            scan_sources([path], archives=archives)
    assert list(archives.folder.iterdir()) == []


def test_a_copy_of_an_archive_is_told(tmp_path, series, archives):
    (tmp_path / "in").mkdir()
    pack(tmp_path / "in" / "a.zip", files_of(series))
    (tmp_path / "in" / "b.zip").write_bytes((tmp_path / "in" / "a.zip").read_bytes())
    assert outcomes(tmp_path / "in", archives) == {"a.zip": "ok", "b.zip": "ignored DUPLICATE_FILE"}


def test_an_empty_archive_is_told(tmp_path, archives):
    pack(tmp_path / "a.zip", [])
    assert outcomes(tmp_path / "a.zip", archives) == {"a.zip": "ignored ARCHIVE"}


def test_a_workspace_below_the_source_is_not_read_as_data(tmp_path, series):
    space = Workspace(tmp_path / "in" / "ws").open()
    pack(tmp_path / "in" / "a.zip", files_of(series))
    places = workspace_archives(space, everywhere=True)
    first = scan_sources([tmp_path / "in"], archives=places)
    assert scan_sources([tmp_path / "in"], archives=places) == first
    assert [ref.source for ref in first if ref.status == "ok"] == ["a.zip"]


def test_passing_archives_go_when_the_work_is_done(tmp_path, series):
    path = pack(tmp_path / "a.zip", files_of(series))
    with passing_archives(everywhere=False) as places:
        rows = convert(scan_sources([path], archives=places), tmp_path / "out")
    assert [(row.source, row.file) for row in rows] == [("a.zip", "1.nii.gz")]
    assert not places.folder.exists()


def test_trimming_takes_whole_archives_and_spares_those_in_use(tmp_path):
    space = Workspace(tmp_path)
    folder = workspace_archives(space, everywhere=False).folder
    for name, days in (("old", 9), ("older", 10), ("new", 0)):
        (folder / name).mkdir(parents=True)
        (folder / name / "000001").write_bytes(b"x" * 100)
        then = (folder / name).stat().st_mtime - days * 86400
        os.utime(folder / name, (then, then))
    assert trim_archives(folder, 200) == 100
    assert {path.name for path in folder.iterdir()} == {"old", "new"}
    assert trim(space.cache, cap_bytes=0) == 100
    assert [path.name for path in folder.rglob("*")] == ["new", "000001"]


def test_labels_of_series_in_archives_go_by_uid(tmp_path, series, archives, slices):
    (tmp_path / "in").mkdir()
    pack(tmp_path / "in" / "a.zip", files_of(series, "inner/"))
    for source in (tmp_path / "in", tmp_path / "in" / "a.zip"):
        write_template(source, tmp_path / "labels.csv", scan_sources([source], archives=archives))
        lines = (tmp_path / "labels.csv").read_text().splitlines()
        assert lines[1:] == [f",{slices.uid},,,,"]


def test_ingest_catalogues_what_an_archive_holds(tmp_path, series, slices):
    (tmp_path / "in").mkdir()
    pack(tmp_path / "in" / "a.zip", files_of(series, "inner/"))
    space = Workspace(tmp_path / "ws").open()
    assert take_in([str(tmp_path / "in")], space, Watch())["counts"] == {"ignored": 1}
    assert take_in([str(tmp_path / "in")], space, Watch(), archives=True)["counts"] == {"ok": 1}
    with contextlib.closing(Catalog(space.catalog_url)) as catalog:
        (ref,) = catalog.find([slices.uid])
    assert ref.source == "a.zip/inner"
    np.testing.assert_array_equal(read_scan(ref).voxels, slices.values)
