import numpy as np
import pydicom
import pytest
from pydantic import ValidationError
from scipy.stats import norm

from pipeline.gate.body_parts import KNOWN, regions_of
from pipeline.gate.header_check import check_headers, judge_headers
from pipeline.gate.header_fields import stated
from pipeline.gate.header_ranges import fit_header_ranges, ranges_of, usual_ends
from pipeline.gate.header_record import HeaderRanges
from pipeline.ingest.scan_folder import scan_sources
from pipeline.prepare.cohort import Case
from pipeline.watch import Watch

ADULT_CHEST = {
    "KVP (kV)": 120.0,
    "Manufacturer": "siemens",
    "ViewPosition": "PA",
    "PatientSex": "F",
    "BodyPartExamined": "CHEST",
    "PatientAge (band)": "50-59",
}


def cohort(n=60, **changes):
    """Headers of n patients; a change is a list of values in turn."""
    rows = [ADULT_CHEST | {name: values[i % len(values)] for name, values in changes.items()} for i in range(n)]
    return rows, [f"p{i}" for i in range(n)]


def verdict(change, rows=None):
    rows, patients = rows or cohort(ViewPosition=["PA", "AP"], PatientSex=["F", "M"])
    return judge_headers({**ADULT_CHEST, **change}, ranges_of(rows, patients))


def test_what_training_had_is_familiar():
    assert verdict({}) == verdict({"ViewPosition": "AP"}) == verdict({"PatientSex": "M"})
    assert verdict({}).referral == verdict({}).refusal == ""


def test_a_header_that_states_nothing_is_not_held_against_the_scan():
    rows, patients = cohort()
    assert judge_headers({}, ranges_of(rows, patients)).referral == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"PatientAge (band)": "0-9"}, "age 0 to 9 years, trained on 50 to 59"),
        ({"PatientAge (band)": "90+"}, "age 90 years or more, trained on 50 to 59"),
        ({"Manufacturer": "acme"}, "vendor acme, trained on siemens"),
        ({"KVP (kV)": 60.0}, "tube voltage 60 kV, trained on 120"),
        ({"ViewPosition": "LL"}, "view LL, trained on AP and PA"),
    ],
)
def test_what_training_did_not_have_refers(change, words):
    assert verdict(change).referral == words
    assert verdict(change).refusal == ""


def test_numbers_have_some_slack():
    assert verdict({"KVP (kV)": 149.0}).referral == "" == verdict({"KVP (kV)": 97.0}).referral
    assert verdict({"KVP (kV)": 151.0}).referral
    assert verdict({"KVP (kV)": 95.0}).referral


def test_several_strange_fields_are_all_told():
    assert verdict({"PatientAge (band)": "0-9", "Manufacturer": "acme"}).referral.count("trained on") == 2


def test_another_body_part_is_refused_a_neighbour_is_referred_and_a_part_of_it_is_familiar():
    assert verdict({"BodyPartExamined": "HAND"}).refusal == (
        "NOT_APPLICABLE: the header names body part HAND; this bundle is for CHEST"
    )
    assert verdict({"BodyPartExamined": "SHOULDER"}).refusal == ""
    assert verdict({"BodyPartExamined": "SHOULDER"}).referral == "body part SHOULDER, trained on CHEST"
    assert verdict({"BodyPartExamined": "THORAX"}) == verdict({"BodyPartExamined": "LUNG"}) == verdict({})


def test_a_body_part_that_is_not_understood_is_never_refused():
    assert verdict({"BodyPartExamined": "PORT QWERTY"}).referral == "body part PORT QWERTY, trained on CHEST"
    odd = cohort(BodyPartExamined=["CHEST", "QWERTY"])
    assert verdict({"BodyPartExamined": "HAND"}, odd).refusal == ""
    assert verdict({"BodyPartExamined": "HAND"}, odd).referral


def test_body_parts_as_regions():
    assert regions_of("PORT CHEST") == regions_of("CHEST") == {"chest"}
    assert regions_of("C SPINE") == regions_of("CSPINE") == {"neck", "spine"}
    assert regions_of("CHEST ABDOMEN") == {"chest", "abdomen"}
    assert regions_of("PORT") is None is regions_of("CHEST QWERTY")
    assert all(word == word.upper() and word.isalpha() for word in KNOWN)


def test_words_of_fewer_than_five_patients_are_kept_nowhere():
    rows, patients = cohort(n=60)
    for row in rows[:4]:
        row["Manufacturer"] = "rare"
    rows += [{**ADULT_CHEST, "Manufacturer": "one-patient"}] * 30
    patients += ["q"] * 30
    found = ranges_of(rows, patients)
    assert found.words["Manufacturer"].words == ("siemens",)
    assert "rare" not in found.model_dump_json()
    assert "one-patient" not in found.model_dump_json()


def test_the_ends_are_no_single_patients_value():
    """Four outliers at either end move nothing."""
    rows, patients = cohort(n=2000, **{"KVP (kV)": [100.0, 110.0, 120.0]})
    before = ranges_of(rows, patients).numbers["KVP (kV)"]
    for row, value in zip(rows[:8], [1.0, 2.0, 3.0, 4.0, 500.0, 600.0, 700.0, 800.0], strict=True):
        row["KVP (kV)"] = value
    assert ranges_of(rows, patients).numbers["KVP (kV)"] == before
    assert (before.low, before.high) == (100, 120)


def test_ends_of_few_patients_reach_as_far_as_those_of_many():
    """On a normal distribution, those of 30 patients are near the 0.5 % points, as those of 1,000 are."""
    rng = np.random.default_rng(0)
    for n in (30, 1000):
        ends = np.mean([usual_ends(list(rng.normal(size=(n, 1)))) for _ in range(40)], axis=0)
        assert ends == pytest.approx([norm.ppf(0.005), -norm.ppf(0.005)], rel=0.12)


def test_ends_worked_by_hand():
    values = [np.array([float(n)]) for n in range(1, 1100)]  # 5 of 1,100 are less than 0.5 %
    assert usual_ends(values) == (5, 1095)
    values = [np.array([float(n), 550.0]) for n in range(1, 1100)]
    assert usual_ends(values) == (5, 1095)


def test_fields_that_too_few_state_are_not_compared():
    rows, patients = cohort(n=19)
    assert ranges_of(rows, patients) is None
    rows, patients = cohort(n=60)
    for row in rows[:31]:
        row.pop("Manufacturer")
    assert set(ranges_of(rows, patients).words) == {"ViewPosition", "PatientSex", "BodyPartExamined"}


def test_a_record_from_elsewhere_is_not_believed_unchecked():
    for wrong in (
        {"patients": 5, "age": {"low": 90, "high": 18, "patients": 5}},
        {"patients": 5, "numbers": {"KVP (kV)": {"low": float("nan"), "high": 1, "patients": 5}}},
        {"patients": 5, "words": {"Manufacturer": {"words": ["x" * 100], "patients": 5}}},
    ):
        with pytest.raises(ValidationError):
            HeaderRanges.model_validate(wrong)


def test_an_unknown_field_of_a_later_version_is_passed_over():
    record = HeaderRanges.model_validate({"patients": 9, "words": {"Later": {"words": ["x"], "patients": 9}}})
    assert judge_headers({"Later": "y"}, record).referral == ""


@pytest.fixture
def written(samples, tmp_path):
    """A sample radiograph with some elements changed; None takes one out."""

    def write(**elements):
        source = next(ref for ref in scan_sources([samples / "incoming"]) if ref.status == "ok")
        dataset = pydicom.dcmread(source.files[0])
        for keyword, value in elements.items():
            if value is None:
                dataset.pop(keyword, None)
            else:
                setattr(dataset, keyword, value)
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.dcm"
        dataset.save_as(path)
        return scan_sources([path])[0]

    return write


def test_a_file_says_what_its_header_states(written):
    ref = written(
        Manufacturer="SIEMENS Healthineers",
        PatientName="Mueller^Hans",
        PatientAge="004Y",
        KVP="70",
        Exposure="0",
        ViewPosition="LL",
        PatientSex="O",
        ImageLaterality=None,
        BodyPartExamined="HAND",
        ImagerPixelSpacing=[0.2, 0.2],
    )
    found = stated(ref)
    assert (
        found.items()
        >= {
            "Manufacturer": "siemens",
            "PatientAge (band)": "0-9",
            "KVP (kV)": 70.0,
            "ViewPosition": "LL",
            "BodyPartExamined": "HAND",
            "ImagerPixelSpacing (mm)": 0.2,
        }.items()
    )
    assert not found.keys() & {"Exposure (mAs)", "PatientSex", "ImageLaterality"}
    rows, patients = cohort()
    assert check_headers(ref, ranges_of(rows, patients)).refusal.startswith("NOT_APPLICABLE: ")
    assert check_headers(ref, None).refusal == ""


def test_a_vendor_that_repeats_the_patients_name_is_not_told(written):
    assert "Manufacturer" not in stated(written(Manufacturer="Mueller Imaging", PatientName="Mueller^Hans"))


def test_files_that_are_not_dicom_state_nothing(samples):
    refs = [ref for ref in scan_sources([samples / "volumes"]) if ref.format == "nifti"]
    assert refs
    assert not any(stated(ref) for ref in refs)


def test_ranges_of_the_sample_radiographs_know_no_test_row_and_no_identity(samples):
    refs = [ref for ref in scan_sources([samples / "radiographs"]) if ref.status == "ok"]
    cases = [Case(ref, ("normal",), f"p{n}", True, "train", (), n) for n, ref in enumerate(refs)]
    found, notes = fit_header_ranges(cases, seed=0, watch=Watch())
    assert found is not None
    assert notes == ()
    assert all(check_headers(ref, found).refusal == "" for ref in refs)
    none, notes = fit_header_ranges(cases[:10], seed=0, watch=Watch())
    assert none is None
    assert "are not compared" in notes[0]
