"""Places off the beaten track: between the segments of codestreams, behind tables, in text that machines write."""

import io
import struct

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from tests.pipeline.deidentify.builders import item

GREY = np.random.default_rng(3).integers(0, 255, (8, 6), dtype=np.uint8)


def encoded(kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, kind, **options)
    return buffer.getvalue()


def segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


@pytest.fixture
def outcome(ct, save, run, tmp_path):
    """De-identifies one frame of a codestream and gives the output's bytes and frame, or the reason of its refusal."""

    def go(syntax, frame, bits=8):
        ds = ct(BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1)
        ds.PixelData = pydicom.encaps.encapsulate([frame])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
        save(ds, tmp_path / "in" / "one.dcm", TransferSyntaxUID=syntax)
        row = run().rows[0]
        if not row.file:
            return row.reason, b""
        out = pydicom.dcmread(tmp_path / "out" / row.file)
        frames = pydicom.encaps.generate_frames(out.PixelData, number_of_frames=1)
        return (tmp_path / "out" / row.file).read_bytes(), next(frames)

    return go


@pytest.mark.parametrize("marker", [0x02, 0xBF, 0xF0, 0xFD])
def test_jpeg_segments_that_the_standard_reserves_are_removed(outcome, plants, marker):
    frame = encoded("JPEG")
    content, after = outcome(JPEGBaseline8Bit, frame[:2] + segment(marker, plants.word().encode()) + frame[2:])
    assert plants.left_in(content) == []
    assert np.array_equal(Image.open(io.BytesIO(after)), Image.open(io.BytesIO(frame)))


def test_a_jpeg_thumbnail_is_removed_with_its_size(outcome, plants):
    frame = encoded("JPEG")
    assert frame[2:4] == b"\xff\xe0"
    thumbnail = segment(0xE0, frame[6:18] + b"\3\4" + plants.word().encode().ljust(36))
    content, after = outcome(JPEGBaseline8Bit, frame[:2] + thumbnail + frame[20:])
    assert plants.left_in(content) == []
    assert after[2:20] == segment(0xE0, frame[6:18] + b"\0\0")


@pytest.mark.parametrize("marker", [0x6A, 0xF0])
def test_jpeg_2000_segments_that_the_standard_does_not_know_are_removed(outcome, plants, marker):
    frame = encoded("JPEG2000", no_jp2=True)
    at = 4 + int.from_bytes(frame[4:6], "big")
    content, after = outcome(JPEG2000Lossless, frame[:at] + segment(marker, plants.word().encode()) + frame[at:])
    assert plants.left_in(content) == []
    assert np.array_equal(Image.open(io.BytesIO(after)), GREY)


def test_a_jpeg_2000_codestream_broken_off_between_tiles_is_refused(outcome):
    frame = encoded("JPEG2000", no_jp2=True, tile_size=(4, 4))
    second = frame.index(b"\xff\x90\0\x0a", frame.index(b"\xff\x90\0\x0a") + 2)
    assert outcome(JPEG2000Lossless, frame)[1]
    reason, _ = outcome(JPEG2000Lossless, frame[:second] + b"damaged!" + frame[second:])
    assert reason.startswith("CORRUPT_FILE")


def test_what_stands_between_the_segments_of_an_rle_frame_is_removed(outcome, plants):
    values = np.arange(48, dtype="<u2") * 85
    high, low = (bytes([47]) + plane.astype(np.uint8).tobytes() + b"\x80" for plane in (values >> 8, values & 255))
    gap = plants.word("gap ").encode().ljust(32)
    head = struct.pack("<16L", 2, 64, 64 + len(high) + len(gap), *[0] * 13)
    content, after = outcome(RLELossless, head + high + gap + low, bits=16)
    assert plants.left_in(content) == []
    starts = struct.unpack("<3L", after[:12])
    assert starts[:2] == (2, 64)
    assert [after[at + 1 : at + 49] for at in starts[1:]] == [high[1:49], low[1:49]]


def test_a_lookup_table_is_cut_to_its_declared_length(ct, one, plants):
    table = item(LUTDescriptor=[4, 0, 16], ModalityLUTType="HU")
    table.add_new(0x00283006, "OW", b"\1\0\2\0\3\0\4\0" + plants.word("behind ").encode().ljust(20))
    out = one(ct(ModalityLUTSequence=[table]))
    assert bytes(out.ModalityLUTSequence[0].LUTData) == b"\1\0\2\0\3\0\4\0"


def test_fragments_where_plain_pixels_are_declared_are_refused(ct, save, run, tmp_path):
    path = save(ct(), tmp_path / "in" / "one.dcm")
    head, _, pixels = path.read_bytes().partition(b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<L", 96))
    assert len(pixels) == 96
    item_head = b"\xfe\xff\x00\xe0" + struct.pack("<L", 96)
    path.write_bytes(
        head + b"\xe0\x7f\x10\x00OW\0\0\xff\xff\xff\xff" + item_head + pixels + b"\xfe\xff\xdd\xe0\0\0\0\0"
    )
    assert run().rows[0].reason.startswith("CORRUPT_FILE")


def test_an_answer_about_text_in_the_pixels_that_is_not_no_counts_as_yes(ct, one):
    assert one(ct(BurnedInAnnotation=["NO", "YES"])).startswith("BURNED_IN")


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        ({"PatientBirthDate": "19470523"}, "V 19470523"),
        ({"PatientBirthDate": "19470523"}, "v 1947-05-23"),
        ({"AcquisitionDateTime": "20190102112233"}, "BUILD 20190102"),
        ({"PatientID": "12-34-56"}, "12-34-56"),
        ({"PatientID": "12-34-56"}, "for 123456"),
        ({"RequestAttributesSequence": [item(RequestingPhysician="Kowalczyk^X")]}, "kowalczyk"),
        ({"OtherPatientIDsSequence": [item(PatientID="MRNQ7788")]}, "MRNQ7788"),
    ],
)
def test_kept_text_holds_no_date_and_no_name_from_anywhere_in_the_object(ct, one, tags, text):
    assert one(ct(SequenceName=text, **tags)).SequenceName == "REMOVED"
    assert one(ct(SequenceName="*tse2d1_19", **tags)).SequenceName == "*tse2d1_19"


@pytest.mark.parametrize("number", ["20011213", "MRN99887766", "N 123456"])
def test_long_numbers_are_no_code_strings(ct, one, number):
    out = one(ct(ScanOptions=["HELICAL MODE", number], ImageType=["ORIGINAL", "PRIMARY", "T1 3D 60 KEV"]))
    assert list(out.ScanOptions) == ["HELICAL MODE", "OTHER"]
    assert list(out.ImageType) == ["ORIGINAL", "PRIMARY", "T1 3D 60 KEV"]
