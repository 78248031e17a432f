"""What the chain says before reading is what reading gives; expected values follow from the stored ones by hand."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from pipeline.ingest.read import read_scan
from pipeline.ingest.syntaxes import DECODERS

FULL = np.array([[0, 4095], [10, 20]], dtype=np.uint16)  # all that 12 bits can hold


def words(row):
    return {step.name: step.words for step in row.chain.steps}


def agree(row, low, high, *, inverted=False):
    """The stated chain, what was measured, and a reading of its own say the same, which is what was worked out."""
    scan = read_scan(row.ref)
    assert (row.chain.possible, row.chain.inverted) == ((low, high), inverted)
    assert (row.measured.lowest, row.measured.highest, row.measured.inverted) == (low, high, inverted)
    assert (scan.voxels.min(), scan.voxels.max(), scan.inverted) == (low, high, inverted)
    assert row.outside is None


def test_ct_in_hounsfield_units(tmp_path, slices, write_all, only):
    slices.stored[0, 0, :2] = (0, 4095)
    write_all(slices, tmp_path / "scans")
    row = only()
    agree(row, -1024, 3071)
    told = words(row)
    assert told["transfer syntax"] == "Explicit VR Little Endian"
    assert told["stored as"] == "unsigned, 12 bits stored in 16"
    assert told["modality values"] == "stored x 1 -1024, one rescale for all images"
    assert told["unit"] == "Hounsfield units"
    assert told["polarity"] == "never inverted in a volume"


def test_rescale_that_varies_from_slice_to_slice(tmp_path, slices, write, only):
    slices.stored[:, 0, :2] = (0, 4095)
    for k in range(10):
        ds = slices.dataset(k, Modality="PT", RescaleSlope=1 + k, RescaleIntercept=0, Units="BQML")
        write(ds, tmp_path / "scans" / f"{k}.dcm")
    row = only()
    agree(row, 0, 40950)
    assert "vary from image to image: slope 1 to 10" in words(row)["modality values"]
    assert words(row)["unit"] == "Bq/ml"


def test_signed_pixels(tmp_path, slices, write_all, only):
    slices.stored = np.tile(np.array([0, 2047, 2048, 4095], dtype=np.uint16), 75).reshape(10, 6, 5)
    write_all(slices, tmp_path / "scans", PixelRepresentation=1, RescaleIntercept=0)
    row = only()
    agree(row, -2048, 2047)
    assert words(row)["stored as"] == "signed, 12 bits stored in 16"


def test_a_radiograph_in_monochrome1_is_inverted(tmp_path, radiograph, write, only):
    ds = radiograph(FULL, PhotometricInterpretation="MONOCHROME1", WindowCenter=1000, WindowWidth=201)
    write(ds, tmp_path / "scans" / "a.dcm")
    row = only()
    agree(row, 0, 4095, inverted=True)
    assert words(row)["polarity"].endswith("value becomes 4095 - value")
    assert words(row)["window"].startswith("2995.5 to 3195.5")  # 4095 - (999.5 +- 100)


def test_a_radiograph_in_monochrome2_is_not_inverted(tmp_path, radiograph, write, only):
    write(radiograph(FULL), tmp_path / "scans" / "a.dcm")
    row = only()
    agree(row, 0, 4095)
    assert words(row)["polarity"] == "as stored: MONOCHROME2 shows large values bright"
    assert words(row)["window"] == "none in the header"


def test_an_inverted_radiograph_with_a_rescale(tmp_path, radiograph, write, only):
    ds = radiograph(FULL, PhotometricInterpretation="MONOCHROME1", RescaleSlope=2, RescaleIntercept=-100)
    write(ds, tmp_path / "scans" / "a.dcm")
    agree(only(), -100, 8090, inverted=True)


def test_monochrome1_in_a_ct_is_said_and_left_alone(tmp_path, slices, write_all, only):
    slices.stored[0, 0, :2] = (0, 4095)
    write_all(slices, tmp_path / "scans", PhotometricInterpretation="MONOCHROME1")
    row = only()
    agree(row, -1024, 3071)
    assert words(row)["polarity"] == "never inverted in a volume, although MONOCHROME1"


def test_a_modality_lut_gives_the_range_of_its_entries(tmp_path, radiograph, write, only):
    item = Dataset()
    item.LUTDescriptor = [3, 0, 8]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = np.array([0, 7, 255], dtype="<u2").tobytes()
    item["LUTData"].VR = "OW"
    item.ModalityLUTType = "US"
    ds = radiograph(np.array([[0, 1], [2, 2]], dtype=np.uint16), ModalityLUTSequence=[item])
    del ds.RescaleSlope, ds.RescaleIntercept
    write(ds, tmp_path / "scans" / "a.dcm")
    row = only()
    agree(row, 0, 255)
    assert words(row)["modality values"] == "looked up in the Modality LUT Sequence"


def test_colour_is_kept_as_red_green_and_blue(tmp_path, radiograph, write, only):
    ds = radiograph(FULL, Modality="US", PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = bytes([0, 1, 2, 255, 4, 5, 6, 7, 8, 9, 10, 11])
    ds["PixelData"].VR = "OB"
    write(ds, tmp_path / "scans" / "a.dcm")
    row = only()
    agree(row, 0, 255)
    assert row.measured.colour
    assert words(row)["colour"] == "RGB, scaled to 0..255"


def test_different_syntaxes_in_one_series_are_counted(tmp_path, slices, write, only):
    for k in range(10):
        ds = slices.dataset(k)
        where = tmp_path / "scans" / f"{k}.dcm"
        write(ds, where, ImplicitVRLittleEndian if k in (1, 2) else ExplicitVRLittleEndian)
        if k == 0:
            ds.compress(RLELossless, generate_instance_uid=False)
            write(ds, where, RLELossless)
    row = only()
    assert words(row)["transfer syntax"] == (
        "Explicit VR Little Endian (7 files); Implicit VR Little Endian (2 files); RLE Lossless (1 files)"
    )
    decoders = {"none needed (uncompressed)", DECODERS[RLELossless]}
    assert words(row)["decoder"] == ", ".join(sorted(decoders))
    assert row.measured.highest == slices.values.max()


@pytest.mark.parametrize(("unit", "told"), [("HU", "Hounsfield units"), ("Meier^Anna", "none named")])
def test_only_units_of_the_standard_are_told(tmp_path, radiograph, write, only, unit, told):
    write(radiograph(FULL, RescaleType=unit), tmp_path / "scans" / "a.dcm")
    assert told in words(only())["unit"]
    assert "Meier" not in str(only().chain)


def test_nifti_is_scaled(tmp_path, only):
    stored = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    stored[0, 0, :2] = (0, 255)
    image = nib.Nifti1Image(stored, np.diag([2.0, 2, 2, 1]))
    image.header.set_slope_inter(2, -10)
    (tmp_path / "scans").mkdir()
    nib.save(image, tmp_path / "scans" / "a.nii.gz")
    row = only()
    agree(row, -10, 500)
    assert words(row)["values"] == "stored x 2 -10"
    assert words(row)["format"] == "NIfTI-1, gzip with its CRC"
    assert (row.geometry.holds, row.geometry.axes) == (True, "RAS")


@pytest.mark.parametrize(("kind", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_png_of_both_depths(tmp_path, only, kind, top):
    (tmp_path / "scans").mkdir()
    Image.fromarray(np.array([[0, top], [1, 2]], dtype=kind)).save(tmp_path / "scans" / "a.png")
    agree(only(), 0, top)


def test_values_outside_of_what_the_header_allows_are_noticed(tmp_path, radiograph, write, only, monkeypatch):
    write(radiograph(FULL), tmp_path / "scans" / "a.dcm")
    from pipeline.check import pixel_chain

    monkeypatch.setattr(pixel_chain, "_range_of", lambda storage: (0.0, 4000.0))
    assert only().outside == (0.0, 4095.0)


def test_headers_alone_measure_nothing(tmp_path, slices, write_all, only):
    write_all(slices, tmp_path / "scans")
    row = only(headers_only=True)
    assert row.measured is None
    assert row.chain.possible == (-1024, 3071)


def test_no_file_of_the_real_sets_gives_values_that_its_header_does_not_allow(shared_folder):
    from pipeline.check.survey import check_sources

    check = check_sources([shared_folder / "dicom"])
    read = [row for row in check.rows if row.measured]
    assert len(read) > 50
    assert not [row.number for row in read if row.outside]
    assert all(row.chain.inverted == row.measured.inverted for row in read)
    assert all(row.geometry is None or row.geometry.holds for row in read)
