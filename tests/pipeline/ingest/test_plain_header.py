"""The quick parser gives what pydicom gives, or gives up: on real files, and on files with bytes changed at random."""

import dataclasses
import io
import struct
import warnings
from collections import Counter

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pipeline.ingest.frames import FrameHeader, frame_facts
from pipeline.ingest.plain_header import INGEST, elements, plain_header
from pipeline.ingest.plain_values import NotPlainError
from pipeline.ingest.silence import quiet
from pipeline.shift.acquisition import ASKED_FOR as ACQUISITION


def both(content, asked_for=INGEST):
    """The header by the quick parser, and pydicom's; None for both where it gives up."""
    with quiet():
        try:
            quick = plain_header(content, len(content), asked_for)
        except (NotPlainError, struct.error):
            return None, None
        return quick, pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, force=True)


def require_equal(quick, slow, asked_for=INGEST):
    with quiet():
        for keyword in sorted(asked_for.keywords):
            assert (keyword in quick) == (keyword in slow), keyword
            mine, theirs = quick.get(keyword), slow.get(keyword)
            if theirs is None or theirs == "" or theirs == []:
                assert mine in (None, ""), keyword
            else:
                assert mine == theirs, keyword
                assert str(mine) == str(theirs) or isinstance(theirs, float | pydicom.multival.MultiValue), keyword
        assert quick.original_encoding == slow.original_encoding
        if asked_for is not INGEST:
            return
        assert frame_facts(quick) == frame_facts(slow)
        assert FrameHeader(quick, 0).rescale() == FrameHeader(slow, 0).rescale()


@pytest.fixture
def content(tmp_path, slices, write):
    """Writes a slice with further elements and gives its bytes."""

    def build(syntax=ExplicitVRLittleEndian, **tags):
        item = Dataset()
        item.CodeValue, item.CodeMeaning = "1", "two"
        inner = Dataset()
        inner.ReferencedSOPInstanceUID = "1.2.3"
        item.ReferencedImageSequence = Sequence([inner])
        ds = slices.dataset(3, ProcedureCodeSequence=Sequence([item]), WindowCenter=[40, 50], WindowWidth=[400, 500])
        for name, value in tags.items():
            setattr(ds, name, value)
        for element in ds.iterall():
            if element.VR == "SQ":
                element.is_undefined_length = True
                for entry in element.value:
                    entry.is_undefined_length_sequence_item = True
        return write(ds, tmp_path / "a.dcm", syntax=syntax).read_bytes()

    return build


ACQUIRED = {
    "PatientName": "Mueller^Hans ",
    "PatientAge": "047Y",
    "OtherPatientIDs": ["a", "b"],
    "KVP": "120.5",
    "Exposure": "12",
    "FocalSpots": ["0.6", "1.2"],
    "Manufacturer": "Maker One",
    "SoftwareVersions": ["V1", "V2"],
    "ScanningSequence": ["SE", "IR"],
    "PatientSex": "",
    "ExposureIndex": "450",
    "DetectorType": "DIRECT",
}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=lambda uid: uid.name)
def test_acquisition_is_read_as_pydicom_reads_it(content, syntax):
    quick, slow = both(content(syntax, **ACQUIRED), ACQUISITION)
    require_equal(quick, slow, ACQUISITION)
    assert quick.get("PatientAge") == "047Y"
    assert quick.get("FocalSpots") == [0.6, 1.2]
    assert quick.get("PatientSex") is None


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=lambda uid: uid.name)
def test_ordinary_header_is_read_as_pydicom_reads_it(content, syntax):
    quick, slow = both(content(syntax, ImageType=["ORIGINAL", "PRIMARY"], EchoTime=4.25, AcquisitionNumber=-7))
    assert quick is not None
    assert quick.get("Rows") == 6
    assert quick.get("ImagePositionPatient") == [-100, -90, 47.5]
    require_equal(quick, slow)


@pytest.mark.parametrize(
    "tags",
    [
        {"PhotometricInterpretation": "RGB"},
        {"NumberOfFrames": 1},
        {"PatientID": "Müller"},
        {"InstanceNumber": "03"},
        {"PatientID": "P" * 2000},
        {"VOILUTSequence": Sequence([Dataset()])},
        {"ModalityLUTSequence": Sequence([Dataset()])},
    ],
    ids=str,
)
def test_header_out_of_the_ordinary_is_left_to_pydicom(content, tags):
    assert both(content(**tags)) == (None, None)


def test_big_endian_and_headers_without_preamble_are_left_to_pydicom(content):
    assert both(content()[132:]) == (None, None)
    assert both(content().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0")) == (None, None)


def test_element_longer_than_the_file_is_left_to_pydicom(content):
    plain = content()
    at = plain.index(b"\x20\x00\x0d\x00UI")  # Study Instance UID
    for length in (b"\xf0\xff", b"\xff\xff"):
        assert both(plain[: at + 6] + length + plain[at + 8 :]) == (None, None)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=lambda uid: uid.name)
@pytest.mark.parametrize("keyword", ["ProcedureCodeSequence", "ReferencedImageSequence"])
def test_undefined_length_of_what_is_no_sequence_is_left_to_pydicom(content, syntax, keyword):
    """pydicom looks for the end of such a value in another way than through its items."""
    plain = content(syntax)
    tag = struct.pack("<HH", *divmod(tag_for_keyword(keyword), 2**16))
    at = plain.index(tag)
    assert both(plain)[0] is not None
    changed = plain[: at + 2] + b"\x00\x10" + plain[at + 4 :]  # Network ID, a short text
    if syntax == ExplicitVRLittleEndian:
        changed = plain[: at + 4] + b"UT" + plain[at + 6 :]
    assert both(changed) == (None, None)


def test_a_name_in_several_writings_is_left_to_pydicom(content):
    assert both(content(PatientName="A^B"), ACQUISITION)[0].get("PatientName") == "A^B"
    assert both(content(PatientName="A^B=C"), ACQUISITION) == (None, None)


def test_a_keyword_that_dicom_does_not_have_is_a_mistake_of_the_program():
    with pytest.raises(LookupError, match="KVp"):
        elements(["KVp"])


def test_keyword_that_is_not_kept_is_a_mistake_of_the_program(content):
    quick, _ = both(content())
    with pytest.raises(LookupError, match="PatientName"):
        quick.get("PatientName")


def test_buffer_that_ends_early_asks_for_more(content):
    plain = content()
    with pytest.raises(struct.error):
        plain_header(plain[:400], len(plain))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3),
    implicit=st.booleans(),
)
def test_changed_bytes_never_make_it_differ_from_pydicom(content, changes, implicit):
    whole = bytearray(content(ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian))
    for place, value in changes:
        whole[132 + place % (len(whole) - 132 - 70)] = value
    for asked_for in (INGEST, ACQUISITION):
        quick, slow = both(bytes(whole), asked_for)
        if quick is not None:
            require_equal(quick, slow, asked_for)


@pytest.mark.shared
def test_real_files_are_read_as_pydicom_reads_them(shared_folder):
    compared = Counter()
    for path in sorted((shared_folder / "dicom").rglob("*")):
        if path.is_file():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = {asked_for: both(path.read_bytes(), asked_for) for asked_for in (INGEST, ACQUISITION)}
            for asked_for, (quick, slow) in found.items():
                if quick is not None:
                    require_equal(quick, slow, asked_for)
                    compared[asked_for] += 1
    assert min(compared[INGEST], compared[ACQUISITION]) > 30


def test_facts_do_not_depend_on_the_parser(tmp_path, slices, write_all, monkeypatch):
    from pipeline.ingest import dicom_file
    from pipeline.ingest.scan_folder import scan_sources

    write_all(slices, tmp_path)
    quick = [dataclasses.astuple(ref) for ref in scan_sources([tmp_path])]
    monkeypatch.setattr(dicom_file, "PLAIN_STARTS", ())
    assert quick == [dataclasses.astuple(ref) for ref in scan_sources([tmp_path])]
