import confidenceinterval
import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from pipeline.evaluate.delong import auroc_interval
from pipeline.evaluate.measure import measure
from tests.pipeline.evaluate.detections import make_detections

THRESHOLDS = {"normal": 0.4, "bacterial": 0.3, "viral": 0.35}


def run(t, thresholds=THRESHOLDS):
    return measure(t, thresholds, 0.5, resamples=20)


def test_delong_is_the_clustered_interval_of_the_class(table):
    t = table()
    found = run(t)["classes"]["viral"]["auroc_delong"]
    own = auroc_interval(t.probability[:, 2], t.truth[:, 2] == 1, t.patient_index)
    assert (found["low"], found["high"]) == pytest.approx((own.low, own.high), abs=1e-6)
    assert found["p_value"] == pytest.approx(own.p_value, rel=1e-5)


def test_p_values_are_adjusted_over_the_classes_as_statsmodels_does(table):
    t = table(signal=0.1)
    found = run(t)
    p, adjusted = (
        [record["auroc_delong"][key] for record in found["classes"].values()] for key in ("p_value", "adjusted")
    )
    assert adjusted == pytest.approx(multipletests(p, method="holm")[1], rel=1e-5)
    assert found["interval"]["tested"] == list(t.classes)


def test_two_classes_are_one_question(table):
    found = run(table(classes=("normal", "ill"), signal=0.2), {})
    assert found["interval"]["tested"] == ["ill"]
    for record in found["classes"].values():
        assert record["auroc_delong"]["adjusted"] == record["auroc_delong"]["p_value"]


def test_wilson_agrees_with_confidenceinterval_and_statsmodels_where_no_patient_repeats(table):
    t = table(patient=tuple(f"p{n}" for n in range(300)))
    found = run(t)["classes"]["bacterial"]["wilson"]
    truth, called = t.truth[:, 1], (t.probability[:, 1] >= 0.3).astype(int)
    peers = {
        "sensitivity": confidenceinterval.tpr_score,
        "specificity": confidenceinterval.tnr_score,
        "ppv": confidenceinterval.ppv_score,
        "npv": confidenceinterval.npv_score,
    }
    for name, peer in peers.items():
        _, limits = peer(truth.tolist(), called.tolist(), method="wilson")
        assert (found[name]["low"], found[name]["high"]) == pytest.approx(limits, abs=1e-6)
        assert found[name]["n"] == found[name]["n_effective"]
    hits = int((truth & called).sum())
    expected = proportion_confint(hits, int(truth.sum()), method="wilson")
    assert (found["sensitivity"]["low"], found["sensitivity"]["high"]) == pytest.approx(expected, abs=1e-6)


def test_scans_of_one_patient_count_for_less(table):
    found = run(table(patients=60))["classes"]["bacterial"]["wilson"]["specificity"]
    assert found["n_effective"] <= found["n"]
    alike = table(300, patient=tuple(f"p{n // 3}" for n in range(300)))
    same = {
        name: np.repeat(getattr(alike, name)[::3], 3, axis=0)
        for name in ("truth", "probability", "uncalibrated", "anomaly_score")
    }
    record = run(table(300, patient=alike.patient, **same))["classes"]["bacterial"]["wilson"]["specificity"]
    assert record["n_effective"] == pytest.approx(record["n"] / 3 - 1, abs=0.06)


def test_without_a_threshold_or_a_side_there_is_a_reason(table):
    t = table()
    truth = t.truth.copy()
    truth[truth[:, 2] == 1] = (0, 1, 0)
    classes = run(table(truth=truth), {"normal": 0.4, "viral": 2.0})["classes"]
    assert classes["bacterial"]["wilson"]["ppv"]["reason"] == "no interval: no threshold for this class"
    assert classes["viral"]["wilson"]["ppv"]["reason"] == "no interval: no scan to take a share of"
    assert classes["viral"]["auroc_delong"] == {
        "low": None,
        "high": None,
        "reason": "no interval: no positive rows",
        "p_value": None,
        "adjusted": None,
    }


def test_what_a_detector_decided_is_what_is_counted():
    t = make_detections(called=np.zeros(300, bool))
    assert measure(t, {"anomaly": 0.95}, 0.95, resamples=20)["classes"]["anomaly"]["wilson"]["ppv"]["n"] == 0
