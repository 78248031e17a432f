"""The truth matrix: series with known voxels and affine, each with one peculiarity of real scanners."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from pipeline.errors import ScanError
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources


def only(folder):
    """The one reference in a folder."""
    (ref,) = scan_sources([folder])
    return ref


def assert_read(folder, values, affine):
    ref = only(folder)
    assert (ref.status, ref.reason) == ("ok", "")
    scan = read_scan(ref)
    assert scan.voxels.dtype == np.float32
    assert ref.shape == scan.voxels.shape
    np.testing.assert_allclose(scan.voxels, values, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(scan.affine, affine, atol=1e-5)
    assert scan.geometry == ref.geometry == "patient"
    assert not scan.inverted
    return scan


def assert_refused(folder, code):
    refused = [ref for ref in scan_sources([folder]) if ref.status == "refused"]
    assert len(refused) == 1
    assert refused[0].reason.startswith(f"{code}: ")
    return refused[0]


def test_plain_series_is_read(tmp_path, slices, write_all):
    write_all(slices, tmp_path / "a" / "b")
    scan = assert_read(tmp_path, slices.values, slices.affine)
    assert scan.modality == "CT"
    assert scan.series_uid == "1.2.3.4"
    ref = only(tmp_path)
    assert (ref.source, ref.images, ref.kind, ref.patient) == ("a/b", 10, "volume", "SECRET-PATIENT")


def test_first_voxel_lies_where_the_header_says(tmp_path, slices, write_all):
    write_all(slices, tmp_path)
    scan = assert_read(tmp_path, slices.values, slices.affine)
    np.testing.assert_allclose(scan.affine @ [0, 0, 0, 1], [100, 90, 40, 1])
    np.testing.assert_allclose(scan.affine @ [1, 2, 3, 1], [100 - 0.7, 90 - 1.6, 40 + 7.5, 1])


def test_oblique_series_is_read(tmp_path, new_slices, write_all):
    c, s = np.cos(0.4), np.sin(0.4)
    oblique = new_slices(row=(c, s, 0), column=(0, 0, -1), step=tuple(2.5 * np.cross((c, s, 0), (0, 0, -1))))
    write_all(oblique, tmp_path)
    assert_read(tmp_path, oblique.values, oblique.affine)


def test_sagittal_series_is_read(tmp_path, new_slices, write_all):
    sagittal = new_slices(row=(0, 1, 0), column=(0, 0, -1), step=(-2.5, 0, 0))
    write_all(sagittal, tmp_path)
    assert_read(tmp_path, sagittal.values, sagittal.affine)


def test_order_follows_position_not_instance_number(tmp_path, slices, write):
    for k in range(10):
        write(slices.dataset(k, InstanceNumber=10 - k, SliceLocation=-k), tmp_path / f"{9 - k}.dcm")
    assert_read(tmp_path, slices.values, slices.affine)


def test_gantry_tilt_shears_the_affine(tmp_path, new_slices, write_all):
    tilted = new_slices(step=(0, 0.6, 2.4))
    write_all(tilted, tmp_path)
    scan = assert_read(tmp_path, tilted.values, tilted.affine)
    assert scan.affine[1, 2] == pytest.approx(-0.6)


def test_jitter_of_four_micrometres_is_tolerated(tmp_path, slices, write):
    rng = np.random.default_rng(0)
    for k in range(10):
        place = slices.position(k) + rng.uniform(-0.004, 0.004, 3)
        write(slices.dataset(k, ImagePositionPatient=[float(round(x, 6)) for x in place]), tmp_path / f"{k}.dcm")
    scan = read_scan(only(tmp_path))
    np.testing.assert_allclose(scan.affine, slices.affine, atol=0.01)


def test_single_slice_takes_its_thickness(tmp_path, slices, write):
    write(slices.dataset(0), tmp_path / "a.dcm")
    assert read_scan(only(tmp_path)).spacing == pytest.approx((0.7, 0.8, 5))


def test_copy_of_a_slice_with_identical_pixels_is_kept_once(tmp_path, slices, write, write_all):
    write_all(slices, tmp_path)
    write(slices.dataset(4, SOPInstanceUID="1.2.3.77"), tmp_path / "z_copy.dcm")
    series, copy = sorted(scan_sources([tmp_path]), key=lambda ref: ref.status, reverse=True)
    np.testing.assert_array_equal(read_scan(series).voxels, slices.values)
    assert (copy.status, copy.source, copy.series_uid) == ("ignored", "z_copy.dcm", "")
    assert copy.reason.startswith("DUPLICATE_FILE: ")


def test_two_different_slices_at_one_position_are_refused(tmp_path, slices, write, write_all):
    write_all(slices, tmp_path)
    other = slices.dataset(4, SOPInstanceUID="1.2.3.77", PixelData=slices.stored[5].tobytes())
    write(other, tmp_path / "z.dcm")
    assert_refused(tmp_path, "DUPLICATE_POSITION")


def test_missing_slice_is_refused(tmp_path, slices, write_all):
    write_all(slices, tmp_path)[4].unlink()
    assert only(tmp_path).reason == "MISSING_SLICE: slice gap 5 mm at position 3, expected 2.5 mm"


def test_uneven_spacing_is_refused(tmp_path, slices, write, write_all):
    write_all(slices, tmp_path)
    moved = [*slices.first[:2], float(slices.position(9)[2] + 0.7)]
    write(slices.dataset(9, ImagePositionPatient=moved), tmp_path / "3_9.dcm")
    assert_refused(tmp_path, "UNEVEN_SPACING")


def test_slice_beside_the_line_is_refused(tmp_path, slices, write, write_all):
    write_all(slices, tmp_path)
    aside = [slices.first[0] + 3.0, slices.first[1], float(slices.position(4)[2])]
    write(slices.dataset(4, ImagePositionPatient=aside), tmp_path / "8_4.dcm")
    assert_refused(tmp_path, "UNEVEN_SPACING")


def test_localizer_stays_apart(tmp_path, slices, write, write_all):
    write_all(slices, tmp_path)
    scout = slices.dataset(0, SOPInstanceUID="1.2.3.88", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write(scout, tmp_path / "scout.dcm")
    series, localizer = scan_sources([tmp_path])
    assert (series.status, series.series_uid, series.images) == ("ok", "1.2.3.4", 10)
    assert (localizer.source, localizer.status) == ("scout.dcm", "ignored")
    assert localizer.reason.startswith("LOCALIZER: ")


def test_slope_of_each_slice_counts(tmp_path, slices, write):
    for k in range(10):
        write(slices.dataset(k, RescaleSlope=k + 1, RescaleIntercept=-k), tmp_path / f"{k}.dcm")
    values = slices.stored.transpose(2, 1, 0) * np.arange(1.0, 11) - np.arange(10.0)
    assert_read(tmp_path, values, slices.affine)


def test_fractional_slope_is_not_rounded(tmp_path, slices, write_all):
    write_all(slices, tmp_path, RescaleSlope=0.37, RescaleIntercept=-3.25)
    assert_read(tmp_path, slices.stored.transpose(2, 1, 0) * 0.37 - 3.25, slices.affine)


def test_monochrome1_ct_is_never_inverted_and_never_windowed(tmp_path, slices, write_all):
    write_all(slices, tmp_path, PhotometricInterpretation="MONOCHROME1", WindowCenter=40, WindowWidth=80)
    scan = assert_read(tmp_path, slices.values, slices.affine)
    assert scan.window is None


def test_garbage_above_the_high_bit_is_masked(tmp_path, slices, write):
    for k in range(10):
        write(slices.dataset(k, PixelData=(slices.stored[k] | 0xA000).tobytes()), tmp_path / f"{k}.dcm")
    assert_read(tmp_path, slices.values, slices.affine)


def test_signed_12_bits_are_extended(tmp_path, slices, write_all):
    write_all(slices, tmp_path, PixelRepresentation=1)
    signed = slices.stored.astype(int)
    signed[signed >= 2048] -= 4096
    assert_read(tmp_path, signed.transpose(2, 1, 0) - 1024.0, slices.affine)


def test_modality_lut_sequence_is_applied(tmp_path, slices, write):
    table = Dataset()
    table.add_new(0x00283002, "US", [4096, 0, 16])
    table.add_new(0x00283006, "OW", np.arange(4096, dtype="<u2")[::-1].tobytes())
    for k in range(10):
        ds = slices.dataset(k)
        del ds.RescaleSlope, ds.RescaleIntercept
        ds.ModalityLUTSequence = [table]
        write(ds, tmp_path / f"{k}.dcm")
    assert_read(tmp_path, 4095.0 - slices.stored.transpose(2, 1, 0), slices.affine)


def test_two_echoes_become_two_volumes(tmp_path, slices, new_slices, write_all):
    later = new_slices(stored=slices.stored[::-1].copy(), sop_root="1.2.3.6")
    write_all(slices, tmp_path / "x", EchoTime=4.6, EchoNumbers=1)
    write_all(later, tmp_path / "y", EchoTime=9.2, EchoNumbers=2)
    first, second = scan_sources([tmp_path])
    assert [first.series_uid, second.series_uid] == ["1.2.3.4#1", "1.2.3.4#2"]
    np.testing.assert_array_equal(read_scan(first).voxels, slices.values)
    np.testing.assert_array_equal(read_scan(second).voxels, later.values)


def test_acquisition_number_alone_does_not_split(tmp_path, slices, write):
    for k in range(10):
        write(slices.dataset(k, AcquisitionNumber=k // 3), tmp_path / f"{k}.dcm")
    assert_read(tmp_path, slices.values, slices.affine)


def test_acquisition_number_tells_repeated_positions_apart(tmp_path, slices, new_slices, write_all):
    again = new_slices(stored=slices.stored[::-1].copy(), sop_root="1.2.3.6")
    write_all(slices, tmp_path / "x", AcquisitionNumber=1)
    write_all(again, tmp_path / "y", AcquisitionNumber=2)
    assert [ref.status for ref in scan_sources([tmp_path])] == ["ok", "ok"]


def test_implicit_without_preamble_is_read(tmp_path, slices, write):
    for k in range(10):
        write(slices.dataset(k), tmp_path / f"{k}", syntax=ImplicitVRLittleEndian)
        whole = (tmp_path / f"{k}").read_bytes()
        length = struct.unpack("<L", whole[140:144])[0]
        (tmp_path / f"{k}").write_bytes(whole[144 + length :])
    assert_read(tmp_path, slices.values, slices.affine)


def test_big_endian_is_read(tmp_path, slices, write):
    for k in range(10):
        ds = slices.dataset(k, PixelData=slices.stored[k].astype(">u2").tobytes())
        write(ds, tmp_path / f"{k}.dcm", syntax=ExplicitVRBigEndian, implicit_vr=False, little_endian=False)
    assert_read(tmp_path, slices.values, slices.affine)


def test_deflated_is_read(tmp_path, slices, write):
    for k in range(10):
        write(slices.dataset(k), tmp_path / f"{k}.dcm", syntax=DeflatedExplicitVRLittleEndian)
    assert_read(tmp_path, slices.values, slices.affine)


def test_deflated_bomb_is_refused(tmp_path, slices, write):
    plain = io.BytesIO()
    write(slices.dataset(0), tmp_path / "a.dcm", syntax=DeflatedExplicitVRLittleEndian)
    whole = (tmp_path / "a.dcm").read_bytes()
    meta = 144 + struct.unpack("<L", whole[140:144])[0]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    plain.write(whole[:meta])
    block = b"\0" * 2**20
    plain.write(packer.compress(struct.pack("<HH2sHL", 9, 0x1001, b"OB", 0, 700 * 2**20)))
    for _ in range(700):
        plain.write(packer.compress(block))
    plain.write(packer.flush())
    (tmp_path / "a.dcm").write_bytes(plain.getvalue())
    assert_refused(tmp_path, "OVER_BUDGET")


def test_rle_is_read(tmp_path, slices, write):
    for k in range(10):
        ds = slices.dataset(k)
        if k % 2:
            ds.file_meta = pydicom.dataset.FileMetaDataset()
            ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            ds.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        write(ds, tmp_path / f"{k}.dcm", syntax=RLELossless if k % 2 else ExplicitVRLittleEndian)
    assert_read(tmp_path, slices.values, slices.affine)


@pytest.mark.parametrize(("lost", "code"), [(1, "TRUNCATED_PIXELS"), (30, "TRUNCATED_PIXELS"), (10 + 60, "NO_PIXELS")])
def test_truncated_slice_refuses_the_series(tmp_path, slices, write_all, lost, code):
    last = write_all(slices, tmp_path)[9]
    last.write_bytes(last.read_bytes()[:-lost])
    assert_refused(tmp_path, code)


def test_short_pixel_data_is_refused(tmp_path, slices, write, write_all):
    write_all(slices, tmp_path)
    write(slices.dataset(9, PixelData=b"\0" * 20), tmp_path / "3_9.dcm")
    assert_refused(tmp_path, "TRUNCATED_PIXELS")


def test_element_with_absurd_length_does_not_hide_the_pixels(tmp_path, slices, write):
    path = write(slices.dataset(0, PatientComments="x" * 8), tmp_path / "a.dcm")
    whole = path.read_bytes()
    at = whole.index(struct.pack("<HH", 0x0010, 0x4000))
    path.write_bytes(whole[: at + 4] + b"UT\0\0" + struct.pack("<L", 0xFFFFFFF0) + whole[at + 8 :])
    assert_refused(tmp_path, "NO_PIXELS")


def test_no_position_is_refused(tmp_path, slices, write):
    for k in range(10):
        ds = slices.dataset(k)
        del ds.ImagePositionPatient
        write(ds, tmp_path / f"{k}.dcm")
    assert_refused(tmp_path, "NO_POSITION")


def test_orientation_that_is_no_rotation_is_refused(tmp_path, slices, write_all):
    write_all(slices, tmp_path, ImageOrientationPatient=[1, 0, 0, 1, 0, 0])
    assert_refused(tmp_path, "UNSUPPORTED_GEOMETRY")


def test_other_spacing_splits(tmp_path, slices, new_slices, write_all):
    other = new_slices(sop_root="1.2.3.6", first=(-100, -90, 500.0))
    write_all(slices, tmp_path)
    write_all(other, tmp_path / "y", PixelSpacing=[1.6, 1.4])
    assert [ref.status for ref in scan_sources([tmp_path])] == ["ok", "ok"]


def test_absurd_size_is_refused_before_anything_is_read(tmp_path, slices, write):
    ds = slices.dataset(0, Rows=65535, Columns=65535, NumberOfFrames=30000)
    write(ds, tmp_path / "a.dcm")
    assert_refused(tmp_path, "OVER_BUDGET")


def test_rle_that_cannot_hold_its_pixels_is_refused(tmp_path, slices, write):
    ds = slices.dataset(0)
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    ds.Rows = ds.Columns = 20000
    write(ds, tmp_path / "a.dcm", syntax=RLELossless)
    assert_refused(tmp_path, "TRUNCATED_PIXELS")


def test_nested_sequences_are_refused(tmp_path, slices, write):
    inner = Dataset()
    for _ in range(60):
        outer = Dataset()
        outer.ContentSequence = [inner]
        inner = outer
    path = write(slices.dataset(0, ContentSequence=[inner]), tmp_path / "a.dcm")
    assert only(tmp_path).status == "ok"
    at = path.read_bytes().index(struct.pack("<HH", 0x0040, 0xA730))
    nest = struct.pack("<HH2sHLHHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
    path.write_bytes(path.read_bytes()[:at] + nest * 3000)
    assert only(tmp_path).status == "refused"


def test_words_never_name_the_patient(tmp_path, slices, write_all):
    write_all(slices, tmp_path)[4].unlink()
    reason = only(tmp_path).reason
    assert "SECRET" not in reason
    assert "Secret" not in reason


def test_ct_in_colour_is_refused(tmp_path, slices, write):
    ds = slices.dataset(0, PhotometricInterpretation="RGB", SamplesPerPixel=3, BitsAllocated=8, BitsStored=8, HighBit=7)
    ds.PlanarConfiguration, ds.PixelData = 0, bytes(90)
    write(ds, tmp_path / "a.dcm")
    assert_refused(tmp_path, "UNSUPPORTED_COLOUR")


def test_same_instance_uid_at_other_places_loses_no_slice(tmp_path, slices, write_all):
    write_all(slices, tmp_path, SOPInstanceUID="1.2.3.5")
    assert_read(tmp_path, slices.values, slices.affine)


def test_mosaic_is_refused(tmp_path, slices, write):
    write(slices.dataset(0, Modality="MR", ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), tmp_path / "a.dcm")
    assert_refused(tmp_path, "UNSUPPORTED_OBJECT")


@pytest.mark.parametrize("keyword", ["EchoNumbers", "TemporalPositionIdentifier"])
def test_number_spelt_otherwise_in_one_slice_does_not_split_the_series(tmp_path, slices, write, keyword):
    for k in range(10):
        write(slices.dataset(k, **{keyword: "01" if k == 4 else "1"}), tmp_path / f"{k}.dcm")
    assert b"01" in (tmp_path / "4.dcm").read_bytes()
    assert_read(tmp_path, slices.values, slices.affine)


@pytest.mark.parametrize(
    "tags",
    [{"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}, {"PixelSpacing": [0.4, 0.4]}, {"EchoNumbers": 2}],
    ids=lambda tags: next(iter(tags)),
)
def test_slice_that_changed_after_the_scan_refuses_the_series(tmp_path, slices, write, write_all, tags):
    write_all(slices, tmp_path)
    ref = only(tmp_path)
    write(slices.dataset(4, **tags), Path(ref.files[4]))
    with pytest.raises(ScanError, match="CHANGED_FILE"):
        read_scan(ref)


def test_instance_that_is_there_twice_with_another_rescale_is_refused(tmp_path, slices, write, write_all):
    write_all(slices, tmp_path)
    write(slices.dataset(4, RescaleSlope=2), tmp_path / "again.dcm")
    assert only(tmp_path).reason.startswith("DUPLICATE_POSITION: ")
