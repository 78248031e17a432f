import csv
import json
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydantic import ValidationError

from models.bundle import open_bundle
from pipeline.decide.prediction_sets import calibrate_sets
from pipeline.evaluate.compare.read import read_validated
from pipeline.evaluate.validate import validate
from pipeline.gate.header_check import check_headers
from pipeline.gate.header_fields import stated
from pipeline.gate.header_ranges import ranges_of
from pipeline.gate.header_record import HeaderRanges
from pipeline.ingest.scan_folder import scan_sources
from pipeline.model_record import ModelRecord, read_record
from pipeline.score.folder import score_folder
from pipeline.score.folder_notice import referrals_notice
from pipeline.score.outcome import Outcome
from pipeline.score.table import predicted_class
from pipeline.watch import Watch
from pipeline.workspace import Workspace


def rows_by_uid(path):
    with path.open(newline="", encoding="utf-8") as file:
        return {row["series_uid"]: row for row in csv.DictReader(file) if row["series_uid"]}


@pytest.fixture(scope="module")
def headers(samples):
    """Ranges of the sample radiographs, each counted as a patient."""
    refs = [ref for ref in scan_sources([samples / "radiographs"]) if ref.status == "ok"]
    return ranges_of([stated(ref) for ref in refs], [str(n) for n in range(len(refs))])


def sets_around(middle):
    """Sets that leave every scan open whose score lies above `middle`, and are empty for none."""
    normal, ill = np.full(30, 0.001), np.full(30, 1 - middle)
    p = np.concatenate([normal, ill])
    truth = np.repeat(np.eye(2, dtype=np.int8), 30, axis=0)
    return calibrate_sets(np.stack([p, 1 - p], axis=1), truth, np.arange(60), classes=("normal", "opacity"), level=0.1)


def test_score_and_validate_refer_the_same_scans_for_the_same_reasons(new_bundle, samples, tmp_path, headers):
    plain = new_bundle(tmp_path / "plain")
    score_folder(samples / "radiographs", plain, tmp_path / "plain_scores")
    scores = [float(row["anomaly_score"]) for row in rows_by_uid(tmp_path / "plain_scores" / "scores.csv").values()]
    bundle = new_bundle(tmp_path / "b", sets=sets_around(float(np.median(scores))), headers=headers)
    score_folder(samples / "radiographs", bundle, tmp_path / "scores")
    result = validate(
        bundle,
        samples / "radiographs" / "labels.csv",
        Workspace(tmp_path / "ws").open(),
        tmp_path / "validation",
        Watch(),
    )
    scored = rows_by_uid(tmp_path / "scores" / "scores.csv")
    predicted = rows_by_uid(tmp_path / "validation" / "predictions.csv")
    decisions = {row["decision"] for row in predicted.values()}
    assert "refer" in decisions
    assert len(decisions) > 1
    for uid, row in predicted.items():
        assert (row["decision"], row["reason"]) == (scored[uid]["decision"], scored[uid]["reason"])
        assert bool(row["reason"]) == (row["decision"] == "refer")
    told = result.metrics["referral"]
    assert told["n_referred"] == sum(row["decision"] == "refer" for row in predicted.values())
    assert json.loads((result.out / "metrics.json").read_text())["conformal"]["level"] == 0.1
    assert "What is left to a person" in (result.out / "report.html").read_text()
    called = read_validated(tmp_path / "validation", "A").called
    assert called.tolist() == [row["called"] == "anomaly" for row in predicted.values()]


def test_an_unfamiliar_header_is_referred_and_another_body_part_refused(
    new_bundle, incoming, samples, tmp_path, headers
):
    refs = [ref for ref in scan_sources([incoming]) if ref.status == "ok"]
    assert all(not check_headers(ref, headers).refusal for ref in refs)
    for ref, change in ((refs[0], {"PatientAge": "003D"}), (refs[1], {"BodyPartExamined": "HAND"})):
        dataset = pydicom.dcmread(ref.files[0])
        for keyword, value in change.items():
            setattr(dataset, keyword, value)
        dataset.save_as(ref.files[0])
    known = HeaderRanges.model_validate(
        {
            "patients": 40,
            "age": {"low": 20, "high": 89, "patients": 40},
            "words": {"BodyPartExamined": {"words": ["CHEST"], "patients": 40}},
        }
    )
    bundle = new_bundle(tmp_path / "b", headers=known)
    score_folder(incoming, bundle, tmp_path / "out")
    rows = rows_by_uid(tmp_path / "out" / "scores.csv")
    first, second = rows[refs[0].series_uid], rows[refs[1].series_uid]
    assert (first["status"], first["decision"]) == ("scored", "refer")
    assert first["reason"] == "HEADER_RANGE: age 0 to 9 years, trained on 20 to 89"
    assert first["anomaly_score"]
    assert (second["status"], second["decision"]) == ("refused", "")
    assert second["reason"].startswith("NOT_APPLICABLE: the header names body part HAND")


def test_a_bundle_without_sets_and_ranges_decides_as_before(radiograph_bundle, samples, tmp_path):
    record = read_record(open_bundle(radiograph_bundle))
    assert record.sets is None
    assert record.headers is None
    score_folder(samples / "radiographs", radiograph_bundle, tmp_path / "out")
    assert {row["decision"] for row in rows_by_uid(tmp_path / "out" / "scores.csv").values()} <= {"normal", "anomaly"}


def test_a_bundle_from_before_has_no_such_keys_and_is_read(radiograph_bundle):
    values = read_record(open_bundle(radiograph_bundle)).model_dump(mode="json")
    del values["sets"], values["headers"], values["config"]["conformal_level"]
    assert ModelRecord.model_validate(values).sets is None


def test_sets_of_other_classes_are_refused(radiograph_bundle):
    values = read_record(open_bundle(radiograph_bundle)).model_dump(mode="json")
    values["sets"] = sets_around(0.5).model_dump()
    ModelRecord.model_validate(values)
    values["sets"]["present"]["other"] = values["sets"]["present"].pop("opacity")
    with pytest.raises(ValidationError, match="not those of the bundle"):
        ModelRecord.model_validate(values)


SCORED = Outcome("scored", "", (0.2, 0.8), 0.8, "anomaly")


def test_a_referral_keeps_what_the_policy_would_say_also_in_the_ledger():
    both = SCORED.referred(uncertain="the set is empty").referred(unfamiliar="view LL, trained on PA")
    assert both.decision == "refer"
    assert both.reason == "HEADER_RANGE: view LL, trained on PA; besides, the set is empty"
    assert both.abnormal
    assert Outcome.from_record(both.to_record()) == both
    assert not replace(SCORED, decision="normal").referred(uncertain="x").abnormal
    assert SCORED.referred() == SCORED
    refused = Outcome("refused", "NO_CONTRAST: flat")
    assert refused.referred(unfamiliar="view LL") == refused


def test_a_referred_scan_of_a_detector_keeps_its_predicted_class(radiograph_bundle):
    record = read_record(open_bundle(radiograph_bundle)).model_copy(update={"detector": object()})
    assert predicted_class(record, SCORED.referred(unfamiliar="view LL")) == "opacity"
    assert predicted_class(record, replace(SCORED, decision="normal").referred(unfamiliar="view LL")) == "normal"


def test_a_folder_of_which_more_than_half_is_referred_is_told():
    strange = SCORED.referred(unfamiliar="view LL, trained on PA")
    open_ones = SCORED.referred(uncertain="the set is empty")
    assert referrals_notice([strange, SCORED]) == "" == referrals_notice([])
    told = referrals_notice([strange, strange, open_ones, SCORED, Outcome("refused", "NO_CONTRAST: flat")])
    assert told.startswith("3 of 4 scans are referred (2 HEADER_RANGE, 1 UNCERTAIN)")
