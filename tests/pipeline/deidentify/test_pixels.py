"""Pixels: refused where text may stand in them, masked, cleared of hidden bits, otherwise unchanged."""

import io

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from pipeline.deidentify.options import Rectangle
from tests.pipeline.deidentify.builders import ROOT, add_image, item


def test_pixels_pass_unchanged(ct, one):
    ds = ct()
    assert one(ds).PixelData == ds.PixelData


def test_bits_above_the_stored_ones_are_cleared(ct, one):
    ds = ct()
    stored = np.frombuffer(ds.PixelData, "<u2")
    ds.PixelData = (stored | 0xA000).astype("<u2").tobytes()
    assert one(ds).PixelData == stored.tobytes()


def test_bits_below_the_stored_ones_are_cleared(ct, one):
    ds = ct(HighBit=15)
    stored = np.frombuffer(ds.PixelData, "<u2") << 4
    ds.PixelData = (stored | 0x0005).astype("<u2").tobytes()
    assert one(ds).PixelData == stored.tobytes()


def test_signed_values_keep_their_sign(ct, one):
    ds = ct(PixelRepresentation=1)
    values = np.linspace(-2048, 2047, 48).astype("<i2")
    ds.PixelData = ((values.astype(int) & 0x0FFF) | 0x5000).astype("<u2").tobytes()
    assert np.array_equal(np.frombuffer(one(ds).PixelData, "<i2"), values)


def test_bytes_after_the_last_pixel_are_cut(ct, one, plants):
    ds = ct()
    pixels = ds.PixelData
    ds.PixelData = pixels + plants.word("behind the image ").encode() + b" "
    assert one(ds).PixelData == pixels


def test_too_few_pixels_are_refused(ct, one):
    ds = ct()
    ds.PixelData = ds.PixelData[:-2]
    assert one(ds).startswith("TRUNCATED_PIXELS")


def test_frames_that_are_no_number_are_refused_rather_than_cut(ct, one):
    ds = ct()
    ds.add_new(0x00280008, "LO", "two")
    assert one(ds).startswith("CORRUPT_HEADER")


def test_big_endian_pixels_keep_their_values(ct, tmp_path, run):
    ds = ct()
    stored = np.frombuffer(ds.PixelData, "<u2").reshape(8, 6)
    ds.PixelData = stored.astype(">u2").tobytes()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    (tmp_path / "in").mkdir()
    ds.save_as(tmp_path / "in" / "big.dcm", enforce_file_format=True)
    out = pydicom.dcmread(tmp_path / "out" / run().rows[0].file)
    assert np.array_equal(out.pixel_array, stored)
    assert (out.Rows, out.SliceThickness) == (8, 2)


@pytest.mark.parametrize(
    ("tags", "accepted"),
    [
        ({}, True),
        ({"BurnedInAnnotation": "NO"}, True),
        ({"BurnedInAnnotation": "YES"}, False),
        ({"Modality": "US"}, False),
        ({"Modality": "US", "BurnedInAnnotation": "NO"}, True),
        ({"Modality": "OT"}, False),
        ({"Modality": "MR", "SOPClassUID": ROOT + "4"}, True),
        ({"SOPClassUID": ROOT + "7"}, False),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, False),
    ],
)
def test_images_that_may_have_text_burned_in_are_refused(ct, one, tags, accepted):
    result = one(ct(**tags))
    assert (not isinstance(result, str)) == accepted
    if not accepted:
        assert result.startswith("BURNED_IN")


def test_masks_blacken_their_rectangle_in_every_frame_and_nothing_else(ct, one):
    ds = ct(BurnedInAnnotation="YES", NumberOfFrames=3)
    stored = add_image(ds) + 1
    ds.PixelData = stored.astype("<u2").tobytes()
    out = one(ds, masks=(Rectangle(1, 2, 3, 4), Rectangle(7, 0, 1, 1)))
    expected = np.where(stored == 4096, 0, stored)
    expected[:, 1:4, 2:6] = 0
    expected[:, 7, 0] = 0
    assert np.array_equal(out.pixel_array, expected)
    assert out.BurnedInAnnotation == "NO"
    assert "113101" in [entry.CodeValue for entry in out.DeidentificationMethodCodeSequence]


@pytest.mark.parametrize("planar", [0, 1])
def test_masks_blacken_colour_images(ct, one, planar):
    ds = ct(BurnedInAnnotation="YES", PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=planar)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    image = np.random.default_rng(2).integers(1, 255, (8, 6, 3), dtype=np.uint8)
    ds.PixelData = (image.transpose(2, 0, 1) if planar else image).tobytes()
    expected = image.copy()
    expected[0:2, 3:6] = 0
    assert np.array_equal(one(ds, masks=(Rectangle(0, 3, 2, 3),)).pixel_array, expected)


def test_a_mask_beyond_the_image_refuses_it(ct, one):
    assert one(ct(BurnedInAnnotation="YES"), masks=(Rectangle(0, 0, 9, 6),)).startswith("BURNED_IN")


def test_masks_leave_images_alone_that_need_none(ct, one):
    ds = ct()
    out = one(ds, masks=(Rectangle(0, 0, 8, 6),))
    assert out.PixelData == ds.PixelData
    assert "BurnedInAnnotation" not in out


def compressed(ds, syntax, frame):
    ds.PixelData = pydicom.encaps.encapsulate([frame])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return {"TransferSyntaxUID": syntax}


def test_jpeg_comments_and_exif_are_removed_and_the_image_decodes_the_same(ct, save, run, plants, tmp_path):
    grey = np.random.default_rng(3).integers(0, 255, (8, 6), dtype=np.uint8)
    buffer = io.BytesIO()
    comment, exif = plants.word("comment ").encode(), b"Exif\0\0" + plants.word().encode()
    Image.fromarray(grey).save(buffer, "JPEG", comment=comment, exif=exif)
    frame = buffer.getvalue() + plants.word("behind ").encode()
    ds = ct(BitsAllocated=8, BitsStored=8, HighBit=7)
    meta = compressed(ds, JPEGBaseline8Bit, frame)
    path = save(ds, tmp_path / "in" / "one.dcm", **meta)
    assert len(plants.left_in(path.read_bytes())) > 10
    out = tmp_path / "out" / run().rows[0].file
    assert plants.left_in(out.read_bytes()) == []
    after = pydicom.dcmread(out)
    cleaned = next(pydicom.encaps.generate_frames(after.PixelData, number_of_frames=1))
    assert np.array_equal(Image.open(io.BytesIO(cleaned)), Image.open(io.BytesIO(buffer.getvalue())))


def test_jpeg_2000_comments_are_removed_and_the_image_decodes_the_same(ct, save, run, plants, tmp_path):
    ds = ct()
    expected = add_image(ds, (64, 48))[0]
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.compress(JPEG2000Lossless, generate_instance_uid=False)
    frame = next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))
    word = plants.word("made for ").encode()
    at = frame.index(b"\xff\x52")
    comment = b"\xff\x64" + (4 + len(word)).to_bytes(2, "big") + b"\0\1" + word
    meta = compressed(ds, JPEG2000Lossless, frame[:at] + comment + frame[at:] + word)
    path = save(ds, tmp_path / "in" / "one.dcm", **meta)
    assert word in path.read_bytes()
    out = tmp_path / "out" / run().rows[0].file
    assert plants.left_in(out.read_bytes()) == []
    assert np.array_equal(pydicom.dcmread(out).pixel_array, expected)


def test_rle_decodes_the_same_and_cannot_be_masked(ct, save, run, plants, tmp_path):
    ds = ct()
    expected = np.frombuffer(ds.PixelData, "<u2").reshape(8, 6)
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.compress(RLELossless, generate_instance_uid=False)
    frame = next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))
    meta = compressed(ds, RLELossless, frame + plants.word("behind ").encode())
    save(ds, tmp_path / "in" / "one.dcm", **meta)
    out = tmp_path / "out" / run().rows[0].file
    assert plants.left_in(out.read_bytes()) == []
    assert np.array_equal(pydicom.dcmread(out).pixel_array, expected)
    ds.BurnedInAnnotation = "YES"
    save(ds, tmp_path / "in" / "one.dcm", TransferSyntaxUID=RLELossless)
    assert run(masks=(Rectangle(0, 0, 1, 1),)).rows[0].reason.startswith("BURNED_IN")


def test_an_overlay_within_compressed_pixels_refuses_the_image(ct, save, run, tmp_path):
    ds = ct()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.compress(RLELossless, generate_instance_uid=False)
    ds.add_new(0x60000102, "US", 12)
    save(ds, tmp_path / "in" / "one.dcm", TransferSyntaxUID=RLELossless)
    assert run().rows[0].reason.startswith("BURNED_IN")


def test_ambiguous_numbers_and_lookup_tables_of_an_implicit_file_are_kept(ct, save, run, tmp_path):
    ds = ct(PixelPaddingValue=7, PixelRepresentation=1)
    table = item(LUTDescriptor=[4, 0, 16], ModalityLUTType="HU")
    table.add_new(0x00283006, "OW", np.arange(4, dtype="<u2").tobytes())
    ds.ModalityLUTSequence = [table]
    save(ds, tmp_path / "in" / "one.dcm", TransferSyntaxUID=pydicom.uid.ImplicitVRLittleEndian)
    out = pydicom.dcmread(tmp_path / "out" / run().rows[0].file)
    kept = out.ModalityLUTSequence[0]
    assert out.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert (out.PixelPaddingValue, list(kept.LUTDescriptor)) == (7, [4, 0, 16])
    assert bytes(kept.LUTData) == np.arange(4, dtype="<u2").tobytes()


def test_floating_point_pixels_are_kept(ct, save, run, tmp_path):
    ds = ct(SOPClassUID=ROOT + "30", BitsAllocated=32, BurnedInAnnotation="NO")
    values = np.linspace(-1, 1, 48, dtype="<f4").tobytes()
    for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(ds, keyword)
    ds.FloatPixelData = values
    save(ds, tmp_path / "in" / "one.dcm")
    out = pydicom.dcmread(tmp_path / "out" / run().rows[0].file)
    assert bytes(out.FloatPixelData) == values
    assert "PixelData" not in out
