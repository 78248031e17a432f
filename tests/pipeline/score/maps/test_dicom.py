import dataclasses
import shutil
import stat
import subprocess

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom.pm.sop import pmread
from PIL import Image

from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from pipeline.prepare.samples import prepare, to_tensor
from pipeline.score.maps.dicom import write_dicom
from pipeline.score.maps.dicom_objects import DicomMap
from pipeline.score.maps.drawing import FixedDraw
from pipeline.score.maps.planted import read_lesions
from pipeline.score.maps.write import MapWriter
from pipeline.score.origin import Origin
from tests.pipeline.ingest.truth.dicom import ENHANCED_CT, Stack, image, item, save, single
from tests.pipeline.score.maps.drawings import ABNORMAL, dense_in_lung, settings

ORIGIN = Origin("ab" * 32, b"k" * 32)
KINDS = ["parametric", "segmentation"]


@pytest.fixture(scope="module")
def ct(sample_scans):
    """Reference and scan of the tilted CT, and the map of what is dense in its lungs."""
    ref, scan = sample_scans["ct"]
    sample = prepare(scan, settings("ct"))
    carried = sample.layout.to_source(dense_in_lung(to_tensor(sample.slices)).numpy())
    return ref, scan, DicomMap(carried, "anomaly", 0.5)


@pytest.fixture(scope="module")
def written(ct, tmp_path_factory):
    """Kind to file."""
    folder = tmp_path_factory.mktemp("dicom")
    for kind in KINDS:
        write_dicom(folder / f"{kind}.dcm", kind, ct[2], ref=ct[0], scan=ct[1], origin=ORIGIN)
    return {kind: folder / f"{kind}.dcm" for kind in KINDS}


@pytest.fixture(scope="module")
def radiograph(sample_scans):
    return next(pair for path, pair in sample_scans.items() if path.startswith("radiographs/"))


def frames_in_ras(dataset, values):
    """Value and RAS+ mm of every pixel, by the standard's own equation (PS3.3 C.7.6.2.1-1), frame by frame."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    row_way, column_way = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    for frame, plane in zip(dataset.PerFrameFunctionalGroupsSequence, values, strict=True):
        origin = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.indices(plane.shape)
        lps = origin + columns[..., None] * row_way * between_columns + rows[..., None] * column_way * between_rows
        yield plane, lps * [-1, -1, 1]


def test_the_peak_of_the_parametric_map_lies_in_the_lesion_in_patient_mm(written, samples):
    lesion = read_lesions(samples / "lesions.csv")["ct"]
    dataset = pydicom.dcmread(written["parametric"])
    best, place = -np.inf, None
    for plane, mm in frames_in_ras(dataset, dataset.pixel_array):
        if plane.max() > best:
            best, place = plane.max(), mm[np.unravel_index(plane.argmax(), plane.shape)]
    assert np.linalg.norm(place - lesion.centre) <= lesion.radius


def test_the_parametric_map_holds_the_values_as_they_are(written, ct):
    found = pmread(written["parametric"])
    volume = found.get_volume()
    placed = np.linalg.inv(np.diag([-1.0, -1.0, 1.0, 1.0]) @ ct[1].affine) @ volume.affine
    assert np.abs(np.abs(placed[:3, :3]).max(axis=1) - 1).max() < 1e-3  # the scan's own voxels, in whatever order
    dataset = pydicom.dcmread(written["parametric"])
    order = np.argsort(
        [item.PlanePositionSequence[0].ImagePositionPatient[2] for item in dataset.PerFrameFunctionalGroupsSequence]
    )
    np.testing.assert_array_equal(dataset.pixel_array[order].transpose(2, 1, 0), ct[2].carried)


def test_the_segmentation_holds_what_reaches_the_threshold_and_lies_in_the_lesion(written, ct, samples):
    lesion = read_lesions(samples / "lesions.csv")["ct"]
    segmentation = hd.seg.segread(written["segmentation"])
    assert segmentation.get_segment_description(1).segment_label == "anomaly"
    dataset = pydicom.dcmread(written["segmentation"])
    pixels = np.atleast_3d(dataset.pixel_array).reshape(-1, dataset.Rows, dataset.Columns)
    assert pixels.sum() == (ct[2].carried >= 0.5).sum() > 0
    inside = np.concatenate([mm[plane > 0] for plane, mm in frames_in_ras(dataset, pixels)])
    assert np.linalg.norm(inside.mean(axis=0) - lesion.centre) <= lesion.radius


@pytest.mark.parametrize("kind", KINDS)
def test_it_lies_in_the_original_study_and_refers_to_the_original_images(kind, written, ct):
    dataset = pydicom.dcmread(written[kind])
    sources = [pydicom.dcmread(file, stop_before_pixels=True) for file in ct[0].files]
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
        assert dataset[keyword].value == sources[0][keyword].value
    assert dataset.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    assert dataset.SeriesInstanceUID != sources[0].SeriesInstanceUID
    (series,) = dataset.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == sources[0].SeriesInstanceUID
    named = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
    assert named == {source.SOPInstanceUID for source in sources}
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        (image,) = frame.DerivationImageSequence[0].SourceImageSequence
        (source,) = [s for s in sources if s.SOPInstanceUID == image.ReferencedSOPInstanceUID]
        np.testing.assert_allclose(
            frame.PlanePositionSequence[0].ImagePositionPatient, source.ImagePositionPatient, atol=1e-3
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_rerun_gives_the_same_uids_and_another_key_or_model_others(kind, written, ct, tmp_path):
    def uids(path):
        dataset = pydicom.dcmread(path)
        dimensions = dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID
        return dataset.SeriesInstanceUID, dataset.SOPInstanceUID, dimensions

    for name, origin in {
        "again": ORIGIN,
        "key": Origin("ab" * 32, b"l" * 32),
        "model": Origin("cd" * 32, b"k" * 32),
    }.items():
        write_dicom(tmp_path / name, kind, ct[2], ref=ct[0], scan=ct[1], origin=origin)
    first = uids(written[kind])
    assert uids(tmp_path / "again") == first
    assert not set(uids(tmp_path / "key")) & set(first)
    assert not set(uids(tmp_path / "model")) & set(first)
    assert len(set(first)) == 3
    assert pydicom.uid.UID(first[0]).is_valid


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
def test_dciodvfy_finds_no_error(written, radiograph, tmp_path):
    ref, scan = radiograph
    flat = DicomMap(np.random.default_rng(0).random(scan.voxels.shape).astype(np.float32), "opacity", 0.5)
    write_dicom(tmp_path / "radiograph.dcm", "segmentation", flat, ref=ref, scan=scan, origin=ORIGIN)
    picture = dataclasses.replace(flat, picture=np.zeros((80, 90, 3), np.uint8))
    write_dicom(tmp_path / "picture.dcm", "secondary-capture", picture, ref=ref, scan=scan, origin=ORIGIN)
    for path in (*written.values(), tmp_path / "radiograph.dcm", tmp_path / "picture.dcm"):
        told = subprocess.run(["dciodvfy", path], capture_output=True, text=True).stderr
        assert "Error" not in told, told


def test_a_radiograph_may_be_a_segmentation_on_its_own_pixels(radiograph, tmp_path):
    ref, scan = radiograph
    carried = np.zeros(scan.voxels.shape, np.float32)
    carried[20:30, 40:45] = 1
    path = tmp_path / "map.dcm"
    write_dicom(path, "segmentation", DicomMap(carried, "opacity", 0.5), ref=ref, scan=scan, origin=ORIGIN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    dataset = hd.seg.segread(path)
    pixels = dataset.pixel_array.reshape(dataset.Rows, dataset.Columns)
    np.testing.assert_array_equal(pixels, carried[:, :, 0].T)
    assert dataset.PatientOrientation == pydicom.dcmread(ref.files[0]).PatientOrientation


def test_a_secondary_capture_is_the_picture_in_the_original_study(radiograph, ct, tmp_path):
    for n, (ref, kind) in enumerate([(radiograph[0], "radiographs"), (ct[0], "ct")]):
        draw = FixedDraw(lambda slices: slices[:, 0], "anomaly", None)  # needs no cut
        (row,) = MapWriter(draw, settings(kind), tmp_path / kind, ORIGIN, "secondary-capture").write([(ref, ABNORMAL)])
        assert row.note == ""
        found, sources = pydicom.dcmread(tmp_path / kind / row.dicom), [pydicom.dcmread(file) for file in ref.files]
        with Image.open(tmp_path / kind / row.png) as picture:
            np.testing.assert_array_equal(found.pixel_array, np.asarray(picture))
        assert found.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
        for keyword in ("PatientName", "PatientID", "PatientAge", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
            assert found.get(keyword) == sources[0].get(keyword)
        assert found.SeriesInstanceUID != sources[0].SeriesInstanceUID
        named = {image.ReferencedSOPInstanceUID for image in found.SourceImageSequence}
        assert named == {source.SOPInstanceUID for source in sources}
        expected = sources[0].PatientOrientation if n == 0 else None  # a volume's slice is turned to patient axes
        assert (found.PatientOrientation or None) == expected
        assert stat.S_IMODE((tmp_path / kind / row.dicom).stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["segmentation", "secondary-capture"])
def test_an_odd_patient_is_copied_as_is_and_never_told(kind, samples, tmp_path, capfd, caplog):
    source = pydicom.dcmread(next((samples / "radiographs" / "north").glob("*a.dcm")))
    source.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    source.PatientName = "Mueller Hans=山田"
    with pydicom.config.disable_value_validation():
        source.PatientBirthDate, source.PatientSex, source.SeriesNumber = "about 1950", "unknown", 2**31 - 1
        source.save_as(tmp_path / "odd.dcm")
        (ref,) = scan_sources([tmp_path / "odd.dcm"])
        carried = np.ones((*ref.shape[:2], 1), np.float32)
        found = DicomMap(carried, "肺炎", 0.5, np.zeros((8, 8, 3), np.uint8))
        write_dicom(tmp_path / "map.out", kind, found, ref=ref, scan=read_scan(ref), origin=ORIGIN)
        dataset = pydicom.dcmread(tmp_path / "map.out")
        for keyword in ("PatientName", "PatientBirthDate", "PatientSex"):
            assert dataset[keyword].value == source[keyword].value
    if kind == "segmentation":
        assert dataset.SegmentSequence[0].SegmentLabel == "肺炎"
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    told = capfd.readouterr()
    assert "Mueller" not in told.out + told.err + caplog.text


def enhanced_ct(stack, order):
    """One object of slices of a stack, whose own groups say where they lie."""
    made = single("CT", "2.1", image(stack.stored[order]), FrameOfReferenceUID="1.2.9")
    made.SOPClassUID = ENHANCED_CT
    way = [float(round(x, 6)) for x in (*stack.row, *stack.column)]
    made.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=way)],
            PixelMeasuresSequence=[item(PixelSpacing=[0.8, 0.7], SliceThickness=5)],
            PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")],
        )
    ]
    made.PerFrameFunctionalGroupsSequence = [
        item(PlanePositionSequence=[item(ImagePositionPatient=stack.place(k))]) for k in order
    ]
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_one_file_in_any_order_get_their_own_plane(kind, tmp_path):
    save(enhanced_ct(Stack(), [2, 0, 3, 1]), tmp_path / "a.dcm")
    (ref,) = scan_sources([tmp_path])
    scan = read_scan(ref)
    carried = np.random.default_rng(0).random(scan.voxels.shape).astype(np.float32)
    path = tmp_path / "map.out"
    write_dicom(path, kind, DicomMap(carried, "anomaly", 0.5), ref=ref, scan=scan, origin=ORIGIN)
    dataset = pydicom.dcmread(path)
    source = pydicom.dcmread(ref.files[0]).PerFrameFunctionalGroupsSequence
    found = carried if kind == "parametric" else carried >= 0.5
    seen = set()
    for frame, pixels in zip(dataset.PerFrameFunctionalGroupsSequence, dataset.pixel_array, strict=True):
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        index = np.linalg.inv(scan.affine) @ [*(place * [-1, -1, 1]), 1]
        seen.add(round(index[2]))
        np.testing.assert_allclose(index[:3], [0, 0, round(index[2])], atol=1e-3)
        np.testing.assert_array_equal(pixels, found[:, :, round(index[2])].T)
        number = int(frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber)
        np.testing.assert_allclose(source[number - 1].PlanePositionSequence[0].ImagePositionPatient, place, atol=1e-3)
    assert seen == {0, 1, 2, 3}


def test_what_cannot_be_written_is_said_and_the_other_files_stay(radiograph, sample_scans, tmp_path):
    volume = next(pair for path, pair in sample_scans.items() if path.startswith("volumes/"))

    def note(kind, ref, dicom, cut=0.5):
        draw = FixedDraw(lambda slices: slices[:, 0], "anomaly", cut)
        (row,) = MapWriter(draw, settings(kind), tmp_path, ORIGIN, dicom).write([(ref, ABNORMAL)])
        assert row.png
        assert not row.dicom
        return row.note

    assert "the series is not DICOM" in note("volumes", volume[0], "parametric")
    assert "a Parametric Map must lie in the patient" in note("radiographs", radiograph[0], "parametric")
    assert note("radiographs", radiograph[0], "segmentation", cut=7.0) == "no DICOM map: no voxel reaches 7"
    assert "no value of this detector's map parts voxels" in note(
        "radiographs", radiograph[0], "segmentation", cut=None
    )


def test_a_header_that_lacks_what_is_needed_is_said_without_quoting_it(ct, tmp_path):
    ref = ct[0]
    copies = []
    for n, file in enumerate(ref.files):
        dataset = pydicom.dcmread(file)
        del dataset.StudyInstanceUID
        dataset.save_as(tmp_path / f"{n}.dcm")
        copies.append(str(tmp_path / f"{n}.dcm"))
    draw = FixedDraw(dense_in_lung, "anomaly", 0.5)
    writer = MapWriter(draw, settings("ct"), tmp_path / "out", ORIGIN, "parametric")
    (row,) = writer.write([(dataclasses.replace(ref, files=tuple(copies)), ABNORMAL)])
    assert row.note == "no DICOM map: the images' header lacks what it needs (AttributeError)"
    assert row.nifti
