import dataclasses
import shutil
import subprocess

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from pipeline.detect.record import DetectorRecord
from pipeline.errors import ResultError
from pipeline.ingest.scan_folder import scan_sources
from pipeline.score.origin import Origin
from pipeline.score.outcome import Outcome
from pipeline.score.results.document import instance_uid, structured_report
from pipeline.score.results.write import encode
from tests.pipeline.ingest.truth.dicom import ENHANCED_CT, Stack, image, item, save, single
from tests.pipeline.score.results.conftest import SCORED
from tests.pipeline.score.results.reading import codes_of, group_of, numbers_of, texts_of

REFERRED = Outcome("scored", "UNFAMILIAR: vendor <b>not</b> seen", (0.5, 0.5), 0.5, "refer")
HOSTILE = ("normal", "Lungenentzündung <script>alert(1)</script> 肺炎\\ " + "x" * 90)


@pytest.fixture
def written(model, tmp_path):
    """Writes the report of a series, and gives its path."""

    def write(ref, outcome=SCORED, record=model[0], origin=model[1], name="report.dcm"):
        (tmp_path / name).write_bytes(encode(structured_report(ref, outcome, record, origin)))
        return tmp_path / name

    return write


def of_classes(record, classes):
    return record.model_copy(update={"classes": classes, "thresholds": dict.fromkeys(classes, 0.5)})


def enhanced(groups):
    """One object whose frames lie where groups say: slice number and a tie (temporal position) of each."""
    stack = Stack()
    made = single("CT", "2.1", image(stack.stored[: len(groups)]), FrameOfReferenceUID="1.2.9")
    made.SOPClassUID = ENHANCED_CT
    made.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            PixelMeasuresSequence=[item(PixelSpacing=[0.8, 0.7], SliceThickness=5)],
            PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")],
        )
    ]
    made.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=stack.place(k))],
            FrameContentSequence=[item(TemporalPositionIndex=tie)],
            TemporalPositionSequence=[item(TemporalPositionTimeOffset=float(tie))],
        )
        for k, tie in groups
    ]
    return made


def test_the_report_says_what_scores_csv_says(written, radiograph, model):
    path = written(radiograph())
    assert numbers_of(path) == {
        "Anomaly score": 0.7123,
        "Anomaly score from which a scan is called abnormal": 0.5,
        "Probability of normal": 0.2877,
        "Probability of opacity": 0.7123,
    }
    found = codes_of(path)
    assert found["Decision"] == codes.SCT.Abnormal
    assert found["Predicted class"].meaning == "opacity"
    assert found["Referred to a reader"] == codes.SCT.No
    units = {measurement.unit.value for measurement in group_of(path).get_measurements()}
    assert units == {"{probability}"}


def test_a_referral_is_told_with_its_reason(written, radiograph):
    ref = radiograph()
    path = written(ref, REFERRED)
    found = codes_of(path)
    assert found["Decision"].scheme_designator == "99SCANSHIFT"
    assert found["Referred to a reader"] == codes.SCT.Yes
    assert texts_of(path)["Reason"] == ["UNFAMILIAR: vendor <b>not</b> seen"]
    assert "Reason" not in texts_of(written(ref, name="two.dcm"))


def test_the_report_says_who_scored_and_how_to_read_it(written, radiograph, model):
    record, origin = model
    path = written(radiograph())
    texts = texts_of(path)
    assert texts["Intended use"] == ["For research use only; not a medical device. Not for diagnosis or treatment."]
    assert texts["Decision policy"] == list(record.policy.lines)
    assert texts["Calibration"] == [
        "probabilities are calibrated by temperature scaling, temperature 1, on nothing: fixed by hand"
    ]
    assert texts["Algorithm Name"] == ["ScanShift classifier"]
    assert f"bundle: {origin.model}" in texts["Algorithm Parameters"]
    dataset = pydicom.dcmread(path)
    assert dataset.Manufacturer == dataset.ManufacturerModelName == "ScanShift"
    assert dataset.DeviceSerialNumber == texts["Device Observer Serial Number"][0] == origin.model
    assert dataset.SoftwareVersions == texts["Algorithm Version"][0] != ""
    assert (dataset.VerificationFlag, dataset.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    (scheme,) = dataset.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99SCANSHIFT"


def test_a_detectors_score_is_no_probability(written, radiograph, model):
    empty = dict.fromkeys(DetectorRecord.model_fields)
    detector = DetectorRecord.model_construct(**{**empty, "name": "patchcore"})
    policy = model[0].policy.model_copy(update={"raw_threshold": 17.25})
    record = model[0].model_copy(update={"task": "one_class", "detector": detector, "policy": policy})
    path = written(radiograph(), record=record)
    assert numbers_of(path) == {"Anomaly score": 0.7123, "Anomaly score from which a scan is called abnormal": 0.5}
    assert {measurement.unit.value for measurement in group_of(path).get_measurements()} == {"1"}
    texts = texts_of(path)
    assert texts["Algorithm Name"] == ["ScanShift anomaly detector patchcore"]
    assert "raw score from which a scan is called abnormal: 17.25" in texts["Algorithm Parameters"]
    assert texts["Calibration"][0].endswith("no probability of disease")


def test_names_of_any_kind_come_back_whole(written, radiograph, model):
    path = written(radiograph(), record=of_classes(model[0], HOSTILE))
    dataset = pydicom.dcmread(path)
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    texts = texts_of(path)
    (meaning,) = [name for name in texts if name.startswith("Lungen")]
    assert texts[meaning] == [HOSTILE[1]]
    assert [value for name, value in numbers_of(path).items() if name.startswith("Probability of Lungen")] == [0.7123]


def test_it_lies_in_the_original_study_and_names_every_image(written, sample_scan):
    ref = sample_scan
    report = hd.sr.srread(written(ref))
    sources = [pydicom.dcmread(file, stop_before_pixels=True) for file in ref.files]
    assert len(sources) > 1
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyInstanceUID"):
        assert report[keyword].value == sources[0][keyword].value
    for keyword in ("StudyDate", "StudyTime", "StudyID", "AccessionNumber"):
        assert report[keyword].value == sources[0][keyword].value
    assert report.SeriesInstanceUID != sources[0].SeriesInstanceUID
    assert report.SeriesNumber == sources[0].SeriesNumber + 8000
    expected = {(s.StudyInstanceUID, s.SeriesInstanceUID, s.SOPInstanceUID, s.SOPClassUID) for s in sources}
    assert set(report.get_evidence(current_procedure_only=True)) == expected
    images = group_of(report.filename).source_images
    assert {found.referenced_sop_instance_uid for found in images} == {s.SOPInstanceUID for s in sources}


@pytest.fixture
def sample_scan(samples):
    (ref,) = [ref for ref in scan_sources([samples / "ct"]) if ref.status == "ok"]
    return ref


def test_the_frames_of_a_multi_frame_image_are_named_where_not_all_were_scored(written, tmp_path):
    save(enhanced([(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]), tmp_path / "in" / "a.dcm")
    refs = scan_sources([tmp_path / "in"])
    assert [(ref.status, ref.images) for ref in refs] == [("ok", 3), ("ok", 3)]
    frames, uids = [], set()
    for ref in refs:
        path = written(ref)
        (source,) = group_of(path).source_images
        frames.append(list(source.referenced_frame_numbers))
        uids.add(pydicom.dcmread(path).SOPInstanceUID)
    assert sorted(frames) == [[1, 3, 5], [2, 4, 6]]
    assert len(uids) == 2


def test_a_multi_frame_image_scored_whole_is_named_whole(written, tmp_path):
    save(enhanced([(0, 1), (1, 1), (2, 1)]), tmp_path / "in" / "a.dcm")
    (ref,) = scan_sources([tmp_path / "in"])
    (source,) = group_of(written(ref)).source_images
    assert source.referenced_frame_numbers is None


def test_an_image_that_lacks_what_may_be_empty_gets_a_report(written, radiograph):
    dataset = pydicom.dcmread(written(radiograph(PatientID=None)))
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "StudyDate", "AccessionNumber", "StudyID"):
        assert keyword in dataset
        assert not dataset[keyword].value


def test_an_odd_patient_is_copied_as_is_and_never_told(written, radiograph, capfd, caplog):
    with pydicom.config.disable_value_validation():
        odd = {
            "PatientName": "Mueller Hans, no caret " + "x" * 80,
            "PatientBirthDate": "about 1950",
            "PatientSex": "unknown Mueller",
            "StudyTime": "noon",
            "SeriesNumber": -5,
            "OtherPatientIDsSequence": [item(PatientID="Mueller-2", TypeOfPatientID="TEXT")],
        }
        ref = radiograph(**odd)
        path = written(ref)
        dataset, source = pydicom.dcmread(path), pydicom.dcmread(ref.files[0])
        for keyword in (*odd, "PatientID"):
            if keyword != "SeriesNumber":
                assert dataset[keyword].value == source[keyword].value
        assert dataset.SeriesNumber == 8000
    told = capfd.readouterr()
    assert "Mueller" not in told.out + told.err + caplog.text


def test_private_elements_stay_behind(written, radiograph):
    block = pydicom.Dataset().private_block(0x0011, "MUELLER INC", create=True)
    secret = block.dataset
    secret.private_block(0x0011, "MUELLER INC").add_new(1, "LO", "Secret of the vendor")
    ref = radiograph()
    source = pydicom.dcmread(ref.files[0])
    source.update(secret)
    source.save_as(ref.files[0])
    content = written(ref).read_bytes()
    assert b"Secret of the vendor" not in content
    assert b"MUELLER" not in content


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 144", "Люкceмбypг^Ива́н".replace("\u0301", "")),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
    ],
)
def test_names_in_other_alphabets_are_the_same_in_utf_8(written, radiograph, charset, name):
    nested = [item(PatientID=name.split("=")[-1], TypeOfPatientID="TEXT")]
    ref = radiograph(SpecificCharacterSet=charset, PatientName=name, OtherPatientIDsSequence=nested)
    assert str(pydicom.dcmread(ref.files[0]).PatientName) == name
    path = written(ref)
    dataset = pydicom.dcmread(path)
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert str(dataset.PatientName) == name
    assert dataset.OtherPatientIDsSequence[0].PatientID == nested[0].PatientID
    assert name.encode() in path.read_bytes()


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SOPInstanceUID"])
def test_a_header_without_identifiers_is_said_without_quoting_it(radiograph, model, keyword):
    ref = radiograph(PatientName="Mueller^Hans")
    dataset = pydicom.dcmread(ref.files[0])
    del dataset[keyword]
    dataset.save_as(ref.files[0])
    with pytest.raises(ResultError, match=r"^the images' header lacks what a result needs \(\w+\)$"):
        structured_report(ref, SCORED, *model)


def test_images_that_are_gone_are_said(radiograph, model, tmp_path):
    ref = radiograph()
    (tmp_path / "images" / "one.dcm").unlink()
    with pytest.raises(ResultError, match="cannot be read"):
        structured_report(ref, SCORED, *model)


def test_a_rerun_has_the_same_uids_and_another_result_another(radiograph, model):
    ref, (record, origin) = radiograph(), model

    def uids(outcome=SCORED, origin=origin):
        made = structured_report(ref, outcome, record, origin)
        assert made.SOPInstanceUID == instance_uid(ref, outcome, origin)
        return made.SeriesInstanceUID, made.SOPInstanceUID

    series, instance = uids()
    assert uids() == (series, instance)
    assert uids(dataclasses.replace(SCORED, anomaly_score=0.71231)) == (series, instance)  # written alike
    other = uids(dataclasses.replace(SCORED, decision="refer"))
    assert other[0] == series
    assert other[1] != instance
    assert not set(uids(origin=Origin("cd" * 32, origin.key))) & {series, instance}
    assert not set(uids(origin=Origin(origin.model, b"l" * 32))) & {series, instance}
    assert pydicom.uid.UID(instance).is_valid


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
def test_dciodvfy_finds_no_error(written, radiograph, sample_scan, model, tmp_path):
    save(enhanced([(0, 1), (0, 2), (1, 1), (1, 2)]), tmp_path / "in" / "a.dcm")
    hostile = of_classes(model[0], HOSTILE)
    for ref in (sample_scan, radiograph(PatientID=None), *scan_sources([tmp_path / "in"])):
        for outcome in (SCORED, REFERRED):
            told = subprocess.run(["dciodvfy", written(ref, outcome, hostile)], capture_output=True, text=True).stderr
            assert "ComprehensiveSR" in told
            assert "Error" not in told, told


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="dsrdump (dcmtk) is not installed")
def test_dsrdump_reads_the_tree(written, sample_scan, model):
    path = written(sample_scan, REFERRED, of_classes(model[0], HOSTILE))
    told = subprocess.run(["dsrdump", "+Pl", path], capture_output=True, text=True, check=True)
    for line in (
        'NUM:(,,"Anomaly score")="0.5" ({probability},UCUM,"probability")',
        'CODE:(,,"Referred to a reader")=(373066001,SCT,"Yes")',
        'TEXT:(,,"Intended use")="For research use only; not a medical device.',
        HOSTILE[1],
    ):
        assert line in told.stdout
    assert told.stdout.count("Source of Measurement") == len(sample_scan.files)


def test_many_slices_are_a_matter_of_a_small_file(written, tmp_path):
    stack = Stack(stored=np.random.default_rng(0).integers(0, 99, (40, 6, 5)))
    for k in range(40):
        save(stack.dataset(k), tmp_path / "in" / f"{k}.dcm")
    (ref,) = scan_sources([tmp_path / "in"])
    assert written(ref).stat().st_size < 32_768 + 40 * 1024
