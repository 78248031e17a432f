from pathlib import Path

import pydicom
import pytest

from pipeline.ingest import dicom_file
from pipeline.ingest.dicom_file import parse_every_element
from pipeline.ingest.scan_folder import scan_sources
from pipeline.shift import acquisition
from pipeline.shift.acquisition import age_band, columns, header_values, without_rare


@pytest.fixture
def radiograph(samples, tmp_path):
    """Writes one sample radiograph with changed elements, and returns its reference."""

    def write(**elements):
        ds = pydicom.dcmread(sorted((samples / "radiographs" / "north").rglob("*.dcm"))[0])
        for keyword, value in elements.items():
            setattr(ds, keyword, value)
        ds.save_as(tmp_path / "one.dcm")
        (ref,) = scan_sources([tmp_path / "one.dcm"])
        return ref

    return write


def test_a_radiograph_tells_its_acquisition(radiograph):
    found = header_values(radiograph(KVP="112.34567", Manufacturer="Maker  One", PatientAge="047Y"))
    assert found["KVP (kV)"] == 112.3
    assert found["Manufacturer"] == "Maker One"
    assert found["PatientAge (band)"] == "40-49"
    assert (found["Modality"], found["Format"], found["Images"]) == ("CR", "dicom", 1.0)


def test_dates_names_uids_institutions_and_serial_numbers_are_not_told(radiograph):
    ref = radiograph(
        PatientName="Mueller^Hans",
        PatientID="PID4711",
        PatientBirthDate="19700102",
        StudyDate="20240506",
        InstitutionName="Hospital of Nowhere",
        StationName="ROOM7",
        DeviceSerialNumber="SN99887",
        AccessionNumber="ACC12345",
        ReferringPhysicianName="Doctor^Who",
    )
    told = repr(header_values(ref))
    for word in ("Mueller", "Hans", "4711", "1970", "2024", "Nowhere", "ROOM7", "99887", "12345", "Who", "2.25."):
        assert word not in told


def test_text_that_repeats_the_identity_of_its_own_header_is_hidden(radiograph):
    ref = radiograph(PatientName="Mueller^Hans", ManufacturerModelName="X-10 of MUELLER", SoftwareVersions="V1")
    found = header_values(ref)
    assert found["ManufacturerModelName"] == "(not shown)"
    assert found["SoftwareVersions"] == "V1"


def test_what_is_no_code_string_is_other(radiograph):
    with pydicom.config.disable_value_validation():
        ref = radiograph(BodyPartExamined="chest of Hans")
    assert header_values(ref)["BodyPartExamined"] == "other"


def test_uid_like_text_is_hidden(radiograph):
    assert "1.2.840" not in str(header_values(radiograph(SoftwareVersions="1.2.840.113619.6"))["SoftwareVersions"])


def test_a_value_that_cannot_be_read_is_missing(radiograph):
    ref = radiograph(KVP="120")
    file = Path(ref.files[0])
    raw = bytearray(file.read_bytes())
    at = raw.index(b"\x18\x00\x60\x00DS") + 8
    raw[at : at + 2] = b"x?"
    file.write_bytes(raw)
    assert header_values(ref)["KVP (kV)"] is None


def test_what_is_told_does_not_depend_on_the_parser(samples, monkeypatch):
    slow = []

    def by_pydicom(file):
        slow.append(file)
        return parse_every_element(file)

    monkeypatch.setattr(acquisition, "parse_every_element", by_pydicom)
    refs = [ref for ref in scan_sources([samples / "radiographs", samples / "incoming"]) if ref.status == "ok"]
    quick = [header_values(ref) for ref in refs]
    assert len(slow) < len(refs) / 2
    slow.clear()
    monkeypatch.setattr(dicom_file, "PLAIN_STARTS", ())
    assert [header_values(ref) for ref in refs] == quick
    assert len(slow) == sum(ref.format == "dicom" for ref in refs)


def test_a_file_that_is_gone_gives_what_the_reference_knows(radiograph, tmp_path):
    ref = radiograph()
    (tmp_path / "one.dcm").unlink()
    assert set(header_values(ref)) == {"Format", "Modality", "Rows", "Columns", "Images"}


def test_a_nifti_volume_tells_its_voxels(samples):
    ref = next(ref for ref in scan_sources([samples / "volumes"]) if ref.status == "ok")
    found = header_values(ref)
    assert found["Format"] == "nifti"
    assert found["SliceThickness (mm)"] > 0
    assert found["DataType"] == "int16"


@pytest.mark.parametrize(
    ("text", "band"),
    [("045Y", "40-49"), ("000Y", "0-9"), ("011M", "0-9"), ("130M", "10-19"), ("089Y", "80-89"), ("090Y", "90+"),
     ("120Y", "90+"), ("", None), ("45", None), ("Hans", None)],
)  # fmt: skip
def test_age_is_told_in_bands(text, band):
    assert age_band(text) == band


def test_texts_of_fewer_than_five_patients_are_other():
    values = ["A"] * 5 + ["B"] * 5 + [1.5, None]
    patients = ["p1", "p2", "p3", "p4", "p5", "p1", "p2", "p3", "p4", "p4", "p9", "p9"]
    assert without_rare(values, patients) == ("A",) * 5 + ("(other)",) * 5 + (1.5, None)


def test_fields_that_no_scan_has_are_left_out():
    assert columns([{"a": 1.0, "b": None}, {"c": "x"}]) == {"a": (1.0, None), "c": (None, "x")}
