"""Enhanced and other multi-frame objects, and colour."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from pipeline.errors import ScanError
from pipeline.ingest import dicom
from pipeline.ingest.frames import frame_facts
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources


def item(**tags):
    ds = Dataset()
    for name, value in tags.items():
        setattr(ds, name, value)
    return ds


@pytest.fixture
def enhanced(slices):
    """Builds an Enhanced CT from (slice, further functional groups) pairs, in the order given."""

    def build(order, extra=lambda k, n: {}):
        ds = slices.dataset(0)
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
            delattr(ds, name)
        ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
        ds.NumberOfFrames = len(order)
        shared = item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            PixelMeasuresSequence=[item(PixelSpacing=[0.8, 0.7], SliceThickness=5)],
            PixelValueTransformationSequence=[item(RescaleSlope=9, RescaleIntercept=9)],
        )
        frames = []
        for n, k in enumerate(order):
            place = item(ImagePositionPatient=[float(x) for x in slices.position(k)])
            value = item(RescaleSlope=1, RescaleIntercept=-1024)
            frames.append(item(PlanePositionSequence=[place], PixelValueTransformationSequence=[value], **extra(k, n)))
        ds.SharedFunctionalGroupsSequence = [shared]
        ds.PerFrameFunctionalGroupsSequence = frames
        ds.PixelData = b"".join(slices.stored[k].astype("<u2").tobytes() for k in order)
        return ds

    return build


def test_enhanced_frames_come_in_any_order(tmp_path, slices, enhanced, write):
    write(enhanced([3, 1, 4, 0, 5, 9, 2, 6, 8, 7]), tmp_path / "a.dcm")
    (ref,) = scan_sources([tmp_path])
    scan = read_scan(ref)
    np.testing.assert_array_equal(scan.voxels, slices.values)
    np.testing.assert_allclose(scan.affine, slices.affine, atol=1e-6)
    assert (ref.images, ref.shape, ref.kind) == (10, (5, 6, 10), "volume")


def test_enhanced_time_points_become_volumes(tmp_path, slices, enhanced, write):
    order = [*range(10), *reversed(range(10))]
    ds = enhanced(order, lambda k, n: {"FrameContentSequence": [item(TemporalPositionIndex=1 + n // 10)]})
    write(ds, tmp_path / "a.dcm")
    refs = scan_sources([tmp_path])
    assert [(ref.series_uid, ref.volume, ref.images) for ref in refs] == [("1.2.3.4#1", 0, 10), ("1.2.3.4#2", 1, 10)]
    for ref in refs:
        np.testing.assert_array_equal(read_scan(ref).voxels, slices.values)


def test_facts_of_a_file_are_worked_out_once_for_all_its_volumes(tmp_path, slices, enhanced, write, monkeypatch):
    def times(k, n):
        return {"FrameContentSequence": [item(TemporalPositionIndex=1 + n // 10)]}

    write(enhanced([*range(10), *range(10)], times), tmp_path / "a.dcm")
    refs = scan_sources([tmp_path])
    asked = []
    monkeypatch.setattr(dicom, "frame_facts", lambda dataset: asked.append(1) or frame_facts(dataset))
    assert [read_scan(ref).voxels.shape for ref in refs] == [(5, 6, 10)] * 2
    assert len(asked) == 1
    write(enhanced([*range(9, -1, -1), *range(10)], times), tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_scan(refs[0]).voxels, slices.values)
    assert len(asked) == 2


def test_many_frames_ask_the_header_no_more_often_than_one(ultrasound, monkeypatch):
    asked = []
    get = Dataset.get
    monkeypatch.setattr(Dataset, "get", lambda self, *what: asked.append(1) or get(self, *what))
    frame_facts(ultrasound(np.zeros((1, 6, 8))))
    once = len(asked)
    assert [frame.index for frame in frame_facts(ultrasound(np.zeros((500, 6, 8))))] == list(range(500))
    assert len(asked) < 3 * once


def test_enhanced_with_a_gap_is_refused(tmp_path, enhanced, write):
    write(enhanced([0, 1, 2, 4, 5]), tmp_path / "a.dcm")
    (ref,) = scan_sources([tmp_path])
    assert ref.reason.startswith("MISSING_SLICE: ")


def test_enhanced_without_positions_is_refused(tmp_path, slices, write):
    ds = slices.dataset(0, NumberOfFrames=2, PixelData=bytes(2 * 60))
    del ds.ImagePositionPatient
    write(ds, tmp_path / "a.dcm")
    (ref,) = scan_sources([tmp_path])
    assert ref.reason.startswith("NO_POSITION: ")


@pytest.fixture
def ultrasound(slices):
    """Builds an ultrasound object from pixels (frames, rows, columns[, 3])."""

    def build(pixels, **tags):
        ds = slices.dataset(0, Modality="US", SOPClassUID="1.2.840.10008.5.1.4.1.1.3.1")
        del ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.RescaleSlope, ds.RescaleIntercept
        ds.NumberOfFrames, ds.Rows, ds.Columns = pixels.shape[:3]
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit = 7
        if pixels.ndim == 4:
            ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
        ds.PixelData = pixels.astype(np.uint8).tobytes()
        for name, value in tags.items():
            setattr(ds, name, value)
        return ds

    return build


def test_cine_is_a_volume_without_geometry(tmp_path, ultrasound, write):
    pixels = np.random.default_rng(1).integers(0, 256, (4, 6, 8, 3))
    write(ultrasound(pixels), tmp_path / "a.dcm")
    (ref,) = scan_sources([tmp_path])
    scan = read_scan(ref)
    np.testing.assert_array_equal(scan.voxels, pixels.transpose(2, 1, 0, 3))
    assert (scan.colour, scan.geometry, ref.kind) == (True, "none", "volume")


def test_grey_stored_as_colour_is_one_channel(tmp_path, ultrasound, write):
    grey = np.random.default_rng(1).integers(0, 256, (1, 6, 8))
    write(ultrasound(np.stack([grey] * 3, axis=-1)), tmp_path / "a.dcm")
    (ref,) = scan_sources([tmp_path])
    np.testing.assert_array_equal(read_scan(ref).voxels, grey.transpose(2, 1, 0))


def test_palette_becomes_colour(tmp_path, ultrasound, write):
    pixels = np.arange(48).reshape(1, 6, 8)
    ds = ultrasound(pixels, PhotometricInterpretation="PALETTE COLOR")
    for name, table in (("Red", np.arange(256)), ("Green", 255 - np.arange(256)), ("Blue", np.full(256, 7))):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 8])
        setattr(ds, f"{name}PaletteColorLookupTableData", table.astype(np.uint8).tobytes())
    write(ds, tmp_path / "a.dcm")
    (ref,) = scan_sources([tmp_path])
    expected = np.stack([pixels, 255 - pixels, np.full_like(pixels, 7)], axis=-1).transpose(2, 1, 0, 3)
    np.testing.assert_array_equal(read_scan(ref).voxels, expected)


def test_a_file_that_is_gone_says_so(tmp_path, ultrasound, write):
    path = write(ultrasound(np.zeros((1, 6, 8))), tmp_path / "a.dcm")
    (ref,) = scan_sources([tmp_path])
    path.unlink()
    with pytest.raises(ScanError, match="CHANGED_FILE"):
        read_scan(ref)
