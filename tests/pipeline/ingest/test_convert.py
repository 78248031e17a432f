"""NIfTI files and series.csv as other programs read them."""

import csv
import stat

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipeline.ingest.convert import convert
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from pipeline.ingest.series_csv import Row, write_quarantine_csv, write_series_csv
from pipeline.scan import SeriesRef

HEADER = "source,series_uid,status,reason,modality,shape,geometry,inverted,file"


def lines(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_series_becomes_nifti(tmp_path, slices, write_all):
    write_all(slices, tmp_path / "in" / "ct")
    (row,) = convert(scan_sources([tmp_path / "in"]), tmp_path / "out")
    image = nib.load(tmp_path / "out" / "1.nii.gz")
    np.testing.assert_array_equal(image.get_fdata(), slices.values)
    np.testing.assert_allclose(image.affine, slices.affine, atol=1e-5)
    assert image.get_data_dtype() == np.float32
    assert image.header.get_xyzt_units()[0] == "mm"
    assert (tmp_path / "out" / "series.csv").read_text().splitlines() == [
        HEADER,
        "ct,1.2.3.4,ok,,CT,5x6x10,patient,false,1.nii.gz",
    ]
    assert row.file == "1.nii.gz"
    assert stat.S_IMODE((tmp_path / "out" / "series.csv").stat().st_mode) == 0o600


@pytest.mark.parametrize("step", [(0, 0, 2.5), (0, 0.6, 2.4)])
def test_what_was_written_is_read_back(tmp_path, new_slices, write_all, step):
    made = new_slices(step=step)
    write_all(made, tmp_path / "in")
    convert(scan_sources([tmp_path / "in"]), tmp_path / "out")
    (ref,) = [ref for ref in scan_sources([tmp_path / "out"]) if ref.status == "ok"]
    scan = read_scan(ref)
    np.testing.assert_allclose(scan.affine, made.affine, atol=1e-4)
    np.testing.assert_array_equal(scan.voxels, made.values)


def test_two_runs_write_the_same_bytes(tmp_path, slices, write_all):
    write_all(slices, tmp_path / "in")
    for name in ("x", "y"):
        convert(scan_sources([tmp_path / "in"]), tmp_path / name)
    assert (tmp_path / "x" / "1.nii.gz").read_bytes() == (tmp_path / "y" / "1.nii.gz").read_bytes()


def test_colour_becomes_rgb24(tmp_path):
    pixels = np.random.default_rng(2).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")
    (row,) = convert(scan_sources([tmp_path / "in"]), tmp_path / "out")
    image = nib.load(tmp_path / "out" / "1.nii.gz")
    assert int(image.header["datatype"]) == 128
    stored = np.asarray(image.dataobj)
    np.testing.assert_array_equal(stored["G"][:, :, 0], pixels[:, :, 1].T)
    np.testing.assert_array_equal(image.affine, np.eye(4))
    assert (row.shape, row.geometry) == ((9, 6, 1), "none")


def test_series_that_cannot_be_read_is_refused(tmp_path):
    voxels = np.full((2, 2, 2), np.nan, np.float32)
    (tmp_path / "in").mkdir()
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "in" / "a.nii")
    (tmp_path / "in" / "b.txt").write_text("hello")
    convert(scan_sources([tmp_path / "in"]), tmp_path / "out")
    refused, ignored = lines(tmp_path / "out" / "series.csv")
    assert (refused["status"], refused["reason"].partition(":")[0], refused["file"]) == ("refused", "NOT_FINITE", "")
    assert (ignored["source"], ignored["status"]) == ("b.txt", "ignored")


def test_formulas_are_disarmed_but_sources_kept(tmp_path):
    row = Row(source="=a/b", series_uid="=HYPERLINK()", status="ok", reason="@x", modality="+cmd", file="-1.nii.gz")
    write_series_csv(tmp_path / "series.csv", [row])
    (line,) = lines(tmp_path / "series.csv")
    assert (line["source"], line["file"]) == ("=a/b", "-1.nii.gz")
    assert (line["series_uid"], line["reason"], line["modality"]) == ("'=HYPERLINK()", "'@x", "'+cmd")


def test_quarantine_lists_only_the_refused(tmp_path):
    refs = [
        SeriesRef("a", "1", "ok"),
        SeriesRef("b", "2", "refused", "MISSING_SLICE: gap"),
        SeriesRef("c", "", "ignored"),
    ]
    write_quarantine_csv(tmp_path / "quarantine.csv", refs)
    assert [line["source"] for line in lines(tmp_path / "quarantine.csv")] == ["b"]
    assert stat.S_IMODE((tmp_path / "quarantine.csv").stat().st_mode) == 0o600
