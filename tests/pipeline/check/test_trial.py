"""A bundle held against series: who was in training, what it is not for, what it does with a scan."""

import numpy as np
import pytest

from models.bundle import SETTINGS, write_bundle
from models.errors import BundleError
from pipeline.check.as_json import check_record
from pipeline.check.survey import check_sources
from pipeline.check.trial import load_trial
from pipeline.check.wording import overlap_words
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from pipeline.learn.leakage import FILE
from pipeline.prepare.cohort import Case
from pipeline.prepare.samples import Preparation, to_tensor


def case(ref, patient=""):
    return Case(ref, ("normal",), patient or ref.patient, bool(patient or ref.patient), "train", ())


@pytest.fixture
def trial(radiograph_bundle):
    return load_trial(radiograph_bundle, "cpu")


@pytest.fixture
def films(tmp_path, radiograph, write):
    """Three patients: A with two radiographs, B with one, and one without a name."""
    for n, patient in enumerate(["A", "A", "B", ""]):
        ds = radiograph(np.arange(4096, dtype=np.uint16).reshape(64, 64) // (n + 1), PatientID=patient)
        ds.SeriesInstanceUID, ds.SOPInstanceUID = f"1.2.{n}", f"1.3.{n}"
        write(ds, tmp_path / "scans" / f"{n}.dcm")
    return scan_sources([tmp_path / "scans"])


def test_patients_and_series_of_the_training_set_are_counted(tmp_path, films, new_bundle, check_folder):
    seen = [case(films[0])]  # the first radiograph of A
    check = check_folder(trial=load_trial(new_bundle(tmp_path / "bundle", seen=seen), "cpu"))
    overlap = check.overlap
    assert (overlap.patients, overlap.patients_seen) == (2, 1)
    assert (overlap.series, overlap.series_seen, overlap.unknown) == (4, 2, 1)
    assert [row["trained_on"] for row in check_record(check)["series"]] == ["patient", "patient", "no", "unknown"]
    assert overlap_words(check) == (
        "training set: 1 of 2 patients and 2 of 4 series were in training; "
        "1 series name no patient and could not be checked"
    )


def test_a_series_without_a_patient_is_known_by_its_content(tmp_path, films, new_bundle, check_folder):
    bundle = new_bundle(tmp_path / "bundle", seen=[case(films[3])])
    check = check_folder(trial=load_trial(bundle, "cpu"), headers_only=True)
    assert [row["trained_on"] for row in check_record(check)["series"]] == ["no", "no", "no", "content"]
    assert (check.overlap.patients_seen, check.overlap.series_seen) == (0, 1)


def test_a_patient_who_had_another_name_in_the_labels_is_found_by_the_series(films, tmp_path, new_bundle, check_folder):
    bundle = new_bundle(tmp_path / "bundle", seen=[case(films[2], patient="study-17")])
    check = check_folder(trial=load_trial(bundle, "cpu"), headers_only=True)
    assert [row["trained_on"] for row in check_record(check)["series"]] == ["no", "no", "content", "unknown"]


def test_without_a_bundle_nothing_is_compared(films, check_folder):
    check = check_folder(headers_only=True)
    assert check.overlap is None
    assert overlap_words(check) == ""
    assert {row["trained_on"] for row in check_record(check)["series"]} == {None}


@pytest.mark.parametrize("headers_only", [True, False], ids=["headers", "pixels"])
def test_other_kinds_of_scan_are_refused_as_scoring_refuses_them(samples, trial, headers_only):
    check = check_sources([samples / "ct", samples / "incoming"], trial=trial, headers_only=headers_only)
    (ct,) = [row for row in check.rows if row.ref.modality == "CT"]
    assert ct.ref.reason == "NOT_APPLICABLE: a volume; this bundle is for a radiograph"
    assert ct.geometry.holds
    assert (ct.measured is None) == headers_only
    assert check.overlap.series == len([row for row in check.rows if row.ref.status == "ok"]) == 24


def test_an_image_without_contrast_is_refused_as_scoring_refuses_it(tmp_path, radiograph, write, only, trial):
    write(radiograph(np.full((8, 8), 7, dtype=np.uint16)), tmp_path / "scans" / "a.dcm")
    row = only(trial=trial)
    assert row.ref.reason.startswith("NO_CONTRAST")
    assert (row.measured.lowest, row.measured.highest) == (7, 7)


def test_the_stated_intensity_is_the_one_that_preparation_uses(tmp_path, radiograph, write, only, trial):
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    write(radiograph(stored, WindowCenter=2048, WindowWidth=1001), tmp_path / "scans" / "a.dcm")
    row = only(trial=trial)
    told = {step.name: step.words for step in row.preparation}
    assert told["intensity"] == "1547.5 to 2547.5 become 0 to 1 (rule: auto)"  # 2047.5 +- 500, PS3.3 C.11.2.1.2
    assert told["orientation"] == "as stored"
    assert told["resampling"] == "each slice to 64 x 64, bilinear, antialiased"
    prepared = to_tensor(trial.prepare(read_scan(row.ref)))[0, 0].numpy()
    np.testing.assert_allclose(prepared, np.clip((stored - 1547.5) / 1000, 0, 1), atol=1e-4)


def test_a_volume_of_many_slices_is_averaged_into_slabs(samples, tmp_path, new_bundle):
    wanted = Preparation(kind="volume", modality="OT", image_size=32, slices=8, intensity="auto")
    bundle = new_bundle(tmp_path / "bundle", kind=("volume", "OT"), preparation=wanted)
    check = check_sources([samples / "volumes"], trial=load_trial(bundle, "cpu"))
    row = next(row for row in check.rows if row.ref.images == 20)
    told = {step.name: step.words for step in row.preparation}
    assert told["slices"] == "20 averaged into 8 slabs"
    assert told["orientation"].startswith("axes flipped and swapped to left, back, up")
    assert check.timing.batches == 24 * 8 / 16


def test_a_bundle_that_does_not_say_who_was_in_training(radiograph_bundle, tmp_path, films, check_folder):
    bundle = copy_of(radiograph_bundle, tmp_path / "bundle", {})
    check = check_folder(trial=load_trial(bundle, "cpu"), headers_only=True)
    assert check.overlap is None
    assert "could not be checked" in overlap_words(check)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"salt": 3}', '{"salt": "00", "patients": 5, "series": []}'])
def test_a_training_set_that_makes_no_sense_is_an_error(radiograph_bundle, tmp_path, text):
    bundle = copy_of(radiograph_bundle, tmp_path / "bundle", {FILE: text})
    with pytest.raises(BundleError, match=r"training_set\.json is not readable"):
        load_trial(bundle, "cpu")


def copy_of(bundle, folder, more):
    """The same network in a bundle with other texts."""
    import torch

    state = torch.load(bundle / "models/model.pt", weights_only=True)
    write_bundle(folder, {SETTINGS: (bundle / SETTINGS).read_text(), **more}, {"models/model.pt": state})
    return folder
