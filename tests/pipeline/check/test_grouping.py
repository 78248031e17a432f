"""Two volumes in one series that differ in one element each: the split is told by that element's name."""

import pytest
from pydicom.dataset import Dataset

from pipeline.check.grouping import KEY_NAMES, TIE_NAMES, fingerprint, split_by
from pipeline.ingest.frames import frame_facts

MOVED = {"FrameOfReferenceUID": ("1.2.9", "1.2.10")}
KEYS = {
    "frame of reference": MOVED,
    "pixel spacing": {"PixelSpacing": ([0.8, 0.7], [0.9, 0.9])},
    "echo time": {"EchoTime": (4.6, 9.2)},
    "echo number": {"EchoNumbers": (1, 2)},
    "time point": {"TemporalPositionIdentifier": (1, 2)},
    "orientation": {"ImageOrientationPatient": ([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1])},
}
TIES = {
    "acquisition number": {"AcquisitionNumber": (1, 2)},
    "image type": {"ImageType": (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"])},
    "trigger time": {"TriggerTime": (0, 40)},
    "inversion time": {"InversionTime": (100, 900)},
    "flip angle": {"FlipAngle": (5, 20)},
    "frame time": {"FrameReferenceTime": (0, 5000)},
}


@pytest.fixture
def two_volumes(tmp_path, slices, write, check_folder):
    """Writes a series twice over, the copies apart in the elements given, and checks it."""

    def build(tags):
        for half in (0, 1):
            slices.stored = slices.stored + half  # other pixels, so that none is a copy
            for k in range(10):
                ds = slices.dataset(k, SOPInstanceUID=f"1.2.3.{half}.{k + 1}", Modality="MR", RescaleIntercept=0)
                for name, values in tags.items():
                    setattr(ds, name, values[half])
                if half and "ImageOrientationPatient" in tags:
                    ds.ImagePositionPatient = [0, 2.5 * k, 0]
                write(ds, tmp_path / "scans" / f"{half}_{k}.dcm")
        return [row for row in check_folder(headers_only=True).rows if row.belongs]

    return build


@pytest.mark.parametrize("name", [*KEYS, *TIES])
def test_the_element_that_differs_is_named(two_volumes, name):
    rows = two_volumes({**KEYS, **TIES}[name])
    assert [row.ref.status for row in rows] == ["ok", "ok"]
    assert [row.split_by for row in rows] == [(name,), (name,)]


def test_of_two_that_differ_the_one_that_ingest_goes_by_is_named(two_volumes):
    rows = two_volumes({**TIES["trigger time"], **TIES["acquisition number"]})
    assert rows[0].split_by == ("acquisition number",)


def test_two_elements_that_only_together_tell_volumes_apart_are_both_named(tmp_path, slices, write, check_folder):
    for n, (inversion, flip) in enumerate([(100, 5), (100, 20), (900, 5)]):
        slices.stored = slices.stored + 1
        for k in range(10):
            ds = slices.dataset(k, SOPInstanceUID=f"1.2.3.{n}.{k + 1}", InversionTime=inversion, FlipAngle=flip)
            write(ds, tmp_path / "scans" / f"{n}_{k}.dcm")
    rows = check_folder(headers_only=True).rows
    assert [row.split_by for row in rows] == [("inversion time", "flip angle")] * 3


def test_volumes_of_other_sizes_are_split_by_rows_and_columns(tmp_path, slices, write, check_folder):
    for k in range(10):
        write(slices.dataset(k), tmp_path / "scans" / f"{k}.dcm")
        other = slices.dataset(k, SOPInstanceUID=f"1.7.{k}", Rows=5, Columns=3)
        other.PixelData = other.PixelData[:30]
        write(other, tmp_path / "scans" / f"small_{k}.dcm")
    rows = check_folder(headers_only=True).rows
    assert [row.split_by for row in rows] == [("rows", "columns")] * 2


def test_a_single_volume_is_not_split(tmp_path, slices, write_all, only):
    write_all(slices, tmp_path / "scans")
    assert only().split_by == ()


def test_files_of_many_frames_that_nothing_tells_apart_stand_alone(slices):
    (frame,) = frame_facts(slices.dataset(0))
    one = fingerprint([frame], placed=True)
    assert split_by([one, one]) == ("file, since each file of many frames stands alone",)


def test_every_part_of_the_key_and_every_tie_has_a_name():
    (frame,) = frame_facts(Dataset())
    assert (len(frame.key), len(frame.ties)) == (len(KEY_NAMES), len(TIE_NAMES))


def test_copies_and_localizers_are_told_with_their_series(tmp_path, slices, write, write_all, check_folder):
    write_all(slices, tmp_path / "scans")
    write(slices.dataset(3), tmp_path / "scans" / "zz_copy.dcm")
    scout = slices.dataset(0, SOPInstanceUID="1.9.9", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write(scout, tmp_path / "scans" / "scout.dcm")
    stranger = slices.dataset(0, SOPInstanceUID="1.9.8", SeriesInstanceUID="1.5", ImageType=["DERIVED", "LOCALIZER"])
    write(stranger, tmp_path / "scans" / "stranger.dcm")
    check = check_folder(headers_only=True)
    (row,) = [row for row in check.rows if row.belongs]
    assert row.left_out == (("DUPLICATE_FILE", 1), ("LOCALIZER", 1))
    assert len([row for row in check.rows if not row.belongs]) == 3


def test_images_without_a_place_are_split_file_by_file(tmp_path, radiograph, write, check_folder):
    for n in range(2):
        ds = radiograph([[n, 1], [2, 3]], SOPInstanceUID=f"1.2.{n}")
        ds.PixelData = bytes([n, 0, 1, 0, 2, 0, 3, 0])
        write(ds, tmp_path / "scans" / f"{n}.dcm")
    rows = check_folder().rows
    assert [row.split_by for row in rows] == [("file, since images without a place in the patient are no stack",)] * 2
