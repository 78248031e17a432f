"""One polarity for radiographs, and the header's window in units of what is read."""

import csv
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from PIL import Image

from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources

STORED = np.array([[0, 1, 2], [1000, 4000, 4095]], dtype=np.uint16)


@pytest.fixture
def read(tmp_path, write):
    def read_one(ds):
        write(ds, tmp_path / "a.dcm")
        (ref,) = scan_sources([tmp_path])
        assert ref.reason == ""
        return read_scan(ref)

    return read_one


def test_monochrome2_is_left_alone(read, radiograph):
    scan = read(radiograph(STORED))
    np.testing.assert_array_equal(scan.voxels, STORED.T[:, :, None])
    assert not scan.inverted
    assert scan.window is None
    assert (scan.geometry, scan.kind, scan.modality) == ("none", "radiograph", "CR")
    np.testing.assert_array_equal(scan.affine, np.eye(4))


def test_monochrome1_is_inverted_once(read, radiograph):
    scan = read(radiograph(STORED, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"))
    np.testing.assert_array_equal(scan.voxels[:, :, 0], 4095 - STORED.T.astype(float))
    assert scan.inverted


def test_monochrome1_is_inverted_before_the_rescale(read, radiograph):
    ds = radiograph(STORED, PhotometricInterpretation="MONOCHROME1", RescaleSlope=0.5, RescaleIntercept=10)
    np.testing.assert_array_equal(read(ds).voxels[:, :, 0], (4095 - STORED.T.astype(float)) * 0.5 + 10)


def test_signed_monochrome1_is_inverted_about_minus_one_half(read, radiograph):
    stored = np.array([[-2048, -1, 0, 2047]], dtype=np.int16)
    ds = radiograph(stored, PhotometricInterpretation="MONOCHROME1", PixelRepresentation=1)
    np.testing.assert_array_equal(read(ds).voxels[:, 0, 0], [2047, 0, -1, -2048])


@pytest.mark.parametrize(
    ("function", "expected"),
    [("LINEAR", (100 - 0.5 - 25, 100 - 0.5 + 25)), ("LINEAR_EXACT", (74.5, 125.5)), ("SIGMOID", (74.5, 125.5))],
)
def test_window_follows_its_function(read, radiograph, function, expected):
    ds = radiograph(STORED, WindowCenter=[100, 5], WindowWidth=[51, 5], VOILUTFunction=function)
    assert read(ds).window == expected


def test_window_of_an_inverted_image_is_mirrored(read, radiograph):
    ds = radiograph(STORED, PhotometricInterpretation="MONOCHROME1", RescaleSlope=2, RescaleIntercept=-100)
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = 900, 1000, "LINEAR_EXACT"
    low, high = read(ds).window
    # stored 250 shows black-most (400), 750 (1400); turned these are 3845 and 3345
    assert (low, high) == (3345 * 2 - 100, 3845 * 2 - 100)


def test_voi_lut_gives_its_input_range(read, radiograph):
    table = pydicom.Dataset()
    table.add_new(0x00283002, "US", [1000, 200, 16])
    table.add_new(0x00283006, "US", list(range(1000)))
    assert read(radiograph(STORED, VOILUTSequence=[table])).window == (200, 1199)


def test_empty_window_is_none(read, radiograph):
    assert read(radiograph(STORED, WindowCenter=100, WindowWidth=1)).window is None


def test_two_views_of_one_series_are_two_scans(tmp_path, write, radiograph):
    write(radiograph(STORED), tmp_path / "a.dcm")
    write(radiograph(STORED + np.uint16(1), SOPInstanceUID="1.2.3.5.2", InstanceNumber=2), tmp_path / "b.dcm")
    first, second = scan_sources([tmp_path])
    assert [first.series_uid, second.series_uid] == ["1.2.3.4#1", "1.2.3.4#2"]
    assert [first.source, second.source] == ["a.dcm", "b.dcm"]


@pytest.mark.shared
@pytest.mark.parametrize("site", ["guangzhou", "nih"])
def test_window_gives_back_the_original(tmp_path, shared_folder, site):
    tool = shared_folder / "tools" / "make_hospital.py"
    command = [sys.executable, str(tool), "cxr", str(tmp_path), "--site", site, "--split", "test", "--limit", "4"]
    subprocess.run(command, check=True, capture_output=True)
    originals = _originals(shared_folder, site)
    refs = [ref for ref in scan_sources([tmp_path]) if ref.status == "ok"]
    assert len(refs) == 4
    for ref in refs:
        scan = read_scan(ref)
        assert scan.inverted == (site == "nih")
        low, high = scan.window
        grey = (scan.voxels[:, :, 0].T.astype(float) - low) / (high - low) * 255
        assert any(image.shape == grey.shape and np.abs(grey - image).max() < 1e-3 for image in originals)


def _originals(shared_folder, site):
    with (shared_folder / "data" / "cxr" / "labels.csv").open(newline="", encoding="utf-8") as file:
        paths = [row["path"] for row in csv.DictReader(file) if row["site"] == site]
    return [np.asarray(Image.open(shared_folder / "data" / path).convert("L"), float) for path in paths]
