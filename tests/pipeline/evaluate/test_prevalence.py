import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.evaluate.clinical import Asked
from pipeline.evaluate.measure import measure
from pipeline.evaluate.prevalence import BY_LIMITS, check_prevalence, predictive_values
from tests.pipeline.evaluate.detections import make_detections

THRESHOLDS = {"normal": 0.4, "bacterial": 0.3, "viral": 0.35}


def run(table, prevalence, thresholds=THRESHOLDS):
    return measure(table, thresholds, 0.5, asked=Asked(prevalence=prevalence), resamples=200)


def test_predictive_values_by_hand():
    """Of 1,000 scans at 1 %, 9 of 10 ill are found, and 99 of 990 well are called: PPV 9/108, NPV 891/892."""
    found = predictive_values(np.array([0.9]), np.array([0.9]), 0.01)
    assert found[:, 0] == pytest.approx([9 / 108, 891 / 892])


def test_at_the_prevalence_of_the_scans_they_are_the_plain_ones(table):
    t = table()
    share = float(t.truth[:, 2].mean())
    record = run(t, {"viral": share})["classes"]["viral"]
    assert record["prevalence"] == pytest.approx(share, abs=1e-6)
    for metric in ("ppv", "npv"):
        assert record["at_prevalence"][metric]["value"] == pytest.approx(record[metric]["value"], abs=1e-6)


def test_a_rarer_class_has_a_lower_ppv_and_only_named_classes_get_one(table):
    found = run(table(), {"bacterial": 0.01})
    record = found["classes"]["bacterial"]
    assert record["at_prevalence"]["prevalence"] == 0.01
    assert record["at_prevalence"]["ppv"]["high"] < record["ppv"]["low"]
    assert record["at_prevalence"]["ppv"]["low"] < record["at_prevalence"]["ppv"]["value"]
    assert "at_prevalence" not in found["classes"]["viral"]
    assert "at_prevalence" not in found["anomaly"]


def test_anomaly_names_the_decision_and_for_one_class_the_class(table):
    found = run(table(), {"anomaly": 0.05})["anomaly"]
    both = found["sensitivity"]["value"], found["specificity"]["value"]
    expected = predictive_values(*(np.array([m]) for m in both), 0.05)[:, 0]
    assert [found["at_prevalence"][m]["value"] for m in ("ppv", "npv")] == pytest.approx(expected, abs=1e-5)
    detected = measure(make_detections(), {"anomaly": 0.95}, 0.95, asked=Asked(prevalence={"anomaly": 0.05}))
    assert (
        detected["classes"]["anomaly"]["at_prevalence"]["ppv"]["value"] < detected["classes"]["anomaly"]["ppv"]["value"]
    )


def test_a_flawless_ppv_has_limits_from_those_of_sensitivity_and_specificity(table):
    t = table(signal=30.0)
    record = run(t, {"viral": 0.01}, dict.fromkeys(t.classes, 0.5))["classes"]["viral"]
    ppv = record["at_prevalence"]["ppv"]
    ends = (np.array([record[m]["low"]]) for m in ("sensitivity", "specificity"))
    assert ppv["value"] == ppv["high"] == 1.0
    assert ppv["method"] == BY_LIMITS
    assert ppv["low"] == pytest.approx(predictive_values(*ends, 0.01)[0, 0], abs=1e-6)
    assert ppv["low"] < 0.5 < record["ppv"]["low"]


def test_without_a_threshold_or_a_side_there_is_a_reason(table):
    t = table()
    record = run(t, {"viral": 0.1}, {})["classes"]["viral"]["at_prevalence"]
    assert record["ppv"]["reason"] == record["npv"]["reason"] == "no threshold for this class"
    truth = t.truth.copy()
    truth[truth[:, 2] == 1] = [1, 0, 0]
    record = run(table(truth=truth), {"viral": 0.1})["classes"]["viral"]["at_prevalence"]
    assert record["ppv"]["value"] is None
    assert record["ppv"]["reason"] == "no positive rows"


def test_unknown_classes_and_impossible_shares_are_refused():
    check_prevalence({"viral": 0.1, "anomaly": 0.2}, ["viral", "anomaly"])
    with pytest.raises(ConfigError, match="no such class; there are viral, anomaly"):
        check_prevalence({"covid": 0.1}, ["viral", "anomaly"])
    for share in (0.0, 1.0, -0.1, 3.0, float("nan")):
        with pytest.raises(ConfigError, match="above 0 and below 1"):
            check_prevalence({"viral": share}, ["viral"])
