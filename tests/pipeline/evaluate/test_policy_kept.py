import json

import numpy as np
import pytest

from pipeline.decide.policy import parse_policy
from pipeline.decide.record import Achieved, PolicyRecord
from pipeline.evaluate.clinical import Asked
from pipeline.evaluate.measure import measure
from pipeline.evaluate.policy_wording import policy_sentences
from pipeline.evaluate.promise import Promise, against_limit
from tests.pipeline.evaluate.detections import make_detections

FOUND = Achieved(name="sensitivity", value=0.951, low=0.92, high=0.97, scans=588, patients=245)


def run(table, rule, *, threshold=0.5, achieved=(FOUND,), **options):
    policy = PolicyRecord(rule=parse_policy(rule), measured_on="validation rows", achieved=achieved)
    asked = Asked(policy=policy)
    return measure(table, {}, threshold, asked=asked, **({"resamples": 300} | options))


def test_figures_by_counting_on_all_rows_and_on_each_site(table):
    t = table()
    policy = run(t, "sensitivity=0.5")["policy"]
    called, site = t.anomaly_score >= 0.5, np.array(t.groups["site"])
    for rows, record in (
        (np.ones(300, bool), policy["test"]),
        (site == "north", policy["groups"]["site"]["north"]),
    ):
        ill, well = rows & t.abnormal, rows & ~t.abnormal
        assert record["sensitivity"]["value"] == pytest.approx(called[ill].mean(), abs=1e-6)
        assert record["specificity"]["value"] == pytest.approx(1 - called[well].mean(), abs=1e-6)
        assert record["called"]["value"] == pytest.approx(called[rows].mean(), abs=1e-6)
        shares = [called[well & (t.patient_index == p)].mean() for p in np.unique(t.patient_index[well])]
        assert record["false_alarm"]["value"] == pytest.approx(np.mean(shares), abs=1e-6)
        assert record["abnormal"] == {"scans": ill.sum(), "patients": np.unique(t.patient_index[ill]).size}
    assert json.loads(json.dumps(policy, allow_nan=False)) == policy


@pytest.mark.parametrize(("promised", "outcome"), [(0.5, "kept"), (0.99, "broken")])
def test_a_sensitivity_is_kept_or_broken_by_its_interval(table, promised, outcome):
    policy = run(table(), f"sensitivity={promised}")["policy"]
    low, high = (policy["test"]["sensitivity"][side] for side in ("low", "high"))
    assert promised <= low or high < promised
    assert policy["test"]["promise"] == outcome
    assert policy["promised"] == {"figure": "sensitivity", "at_least": promised}


def test_inside_the_interval_it_is_open_and_the_validation_stands_beside(table):
    t = table()
    promised = round(float((t.anomaly_score >= 0.5)[t.abnormal].mean()), 3)
    policy = run(t, f"sensitivity={promised}")["policy"]
    assert policy["test"]["promise"] == "open"
    assert policy["validation"][0]["value"] == 0.951
    sentence = policy_sentences(policy)[0]
    assert "agrees with these scans, without proof" in sentence
    assert "0.951 on those that chose the threshold" in sentence


def test_limits_count_on_the_side_of_the_promise():
    exact = {"value": 0.1, "low": 0.05, "high": 0.2}
    assert against_limit(exact, 0.2) == "kept"
    assert against_limit(exact, 0.05) == "open"
    assert against_limit(exact, 0.04) == "broken"
    assert against_limit(exact, 0.05, at_least=True) == "kept"
    assert against_limit(exact, 0.2, at_least=True) == "open"
    assert against_limit(exact, 0.21, at_least=True) == "broken"


def test_a_site_where_it_is_broken_is_named_though_the_whole_is_not(table):
    t = table(signal=4.0)
    score = t.anomaly_score.copy()
    far = np.array(t.groups["site"]) == "south"
    ill = np.flatnonzero(far & t.abnormal)
    score[ill[: ill.size // 2]] = 0.1
    policy = run(table(signal=4.0, anomaly_score=score), "sensitivity=0.7")["policy"]
    assert policy["groups"]["site"]["south"]["promise"] == "broken"
    assert policy["test"]["promise"] != "broken"
    assert any("does not hold where site is south" in sentence for sentence in policy_sentences(policy))


def test_a_site_without_abnormal_scans_cannot_be_judged(table):
    t = table()
    site = tuple(np.where(t.abnormal, "ill", "well"))
    groups = run(table(groups={"site": site}), "sensitivity=0.9")["policy"]["groups"]["site"]
    assert groups["well"]["promise"] is None
    assert "no abnormal rows" in groups["well"]["promise_reason"]
    assert groups["ill"]["specificity"]["value"] is None


def test_false_alarms_of_a_detector_are_judged_as_its_own_page_does():
    t = make_detections(patients=80, shifted="nih")
    found = run(t, "false_alarm=0.05", threshold=0.95, promise=Promise(0.05, 100))
    for record, detection in (
        (found["policy"]["test"], found["false_alarms"]),
        (found["policy"]["groups"]["site"]["gz"], found["groups"]["site"]["gz"]["false_alarms"]),
        (found["policy"]["groups"]["site"]["nih"], found["groups"]["site"]["nih"]["false_alarms"]),
    ):
        assert record["false_alarm"] == detection["by_patient"]
        assert record["promise"] == detection["promise"]
    assert found["policy"]["groups"]["site"]["nih"]["promise"] == "broken"


def test_a_cost_stands_beside_that_of_calling_none_and_all(table):
    t = table()
    test = run(t, "cost=10@0.05")["policy"]["test"]
    called = t.anomaly_score >= 0.5
    missed, alarms = 1 - called[t.abnormal].mean(), called[~t.abnormal].mean()
    assert test["cost"]["value"] == pytest.approx(0.05 * 10 * missed + 0.95 * alarms, abs=1e-6)
    assert (test["cost_of_none"], test["cost_of_all"]) == pytest.approx((0.5, 0.95))
    assert test["promise"] is None


def test_a_capacity_is_not_judged_on_another_mix_of_labels(table):
    policy = run(table(), "capacity=20/200")["policy"]
    assert policy["promised"] is None
    assert policy["test"]["promise"] is None
    assert "mix of labels" in policy_sentences(policy)[0]


def test_without_a_policy_there_is_nothing_to_keep(table):
    assert "policy" not in measure(table(), {}, 0.5, resamples=20)
    assert policy_sentences(None) == []
