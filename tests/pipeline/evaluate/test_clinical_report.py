import re

import numpy as np
import pytest

from pipeline.decide.policy import parse_policy
from pipeline.decide.record import Achieved, PolicyRecord
from pipeline.evaluate.clinical import Asked
from pipeline.evaluate.clinical_plots import class_reliability, decision_curves, reading
from pipeline.evaluate.measure import measure
from pipeline.evaluate.report import ReportContext, write_validation_report
from tests.pipeline.evaluate.detections import make_detections

EVIL = "$<script>alert(1)</script>"
FOUND = Achieved(name="sensitivity", value=0.951, low=0.92, high=0.97, scans=588, patients=245)


def page_of(table, tmp_path, rule, prevalence=None, *, threshold=0.5):
    policy = PolicyRecord(rule=parse_policy(rule), measured_on="validation rows", achieved=(FOUND,))
    thresholds = dict.fromkeys(table.classes, threshold)
    metrics = measure(table, thresholds, threshold, asked=Asked(policy, prevalence or {}), resamples=60)
    context = ReportContext("Validation", "", "resnet18", "lp_ft", "imagenet", table.task, table.classes, "now")
    write_validation_report(tmp_path / "r.html", metrics, table, context)
    return (tmp_path / "r.html").read_text(), metrics


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_page_tells_policy_calibration_worth_and_prevalence(table, tmp_path, task):
    t = table(classes=("normal", EVIL, "viral"), task=task, groups={"site": (EVIL,) * 300})
    page, metrics = page_of(t, tmp_path, "sensitivity=0.5", {EVIL: 0.01})
    assert "<script" not in page
    assert "The policy sensitivity=0.5" in page[: page.index("<table")]
    assert page.count("588<span") == 1  # the scans that chose the threshold
    assert "✓ holds" in page
    assert "Where classes are as common as you said" in page
    assert f"normal {100 * metrics['classes']['normal']['prevalence']:.1f}&nbsp;%" in page
    assert len(re.findall(r'aria-label="[^"]*shown better', page)) == 2
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+", "", page.lower())


@pytest.mark.parametrize(("rule", "kind"), [("sensitivity=0.2", "shown"), ("sensitivity=0.999", "mixed")])
def test_a_broken_policy_stands_in_the_verdict(table, tmp_path, rule, kind):
    page, metrics = page_of(table(), tmp_path, rule)
    assert (metrics["policy"]["test"]["promise"] == "broken") == (kind == "mixed")
    assert f'<section class="verdict {kind}"' in page
    assert ("✕ its policy does not hold" in page) == (kind == "mixed")


@pytest.mark.parametrize("rule", ["cost=10@0.05", "capacity=20/200", "false_alarm=0.05"])
def test_every_kind_of_policy_has_a_page(table, tmp_path, rule):
    page, _ = page_of(table(), tmp_path, rule)
    assert ("Promised" in page) == rule.startswith("false_alarm")
    assert ("Cost of a scan" in page) == rule.startswith("cost")


@pytest.mark.parametrize(("rule", "shown"), [("sensitivity=0.5", True), ("cost=10@0.05", True)])
def test_page_of_a_detector_tells_another_policy_than_its_own(tmp_path, rule, shown):
    page, _ = page_of(make_detections(), tmp_path, rule, {"anomaly": 0.05}, threshold=0.95)
    assert ("Does the policy hold?" in page) == shown
    assert "Where classes are as common as you said" in page


def test_page_of_one_class_only_is_written_with_reasons(table, tmp_path):
    t = table(truth=np.tile(np.array([1, 0, 0], np.int8), (300, 1)))
    page, metrics = page_of(t, tmp_path, "sensitivity=0.5", {"viral": 0.1})
    assert "no abnormal rows" in page
    assert decision_curves(metrics) == []
    assert metrics["calibration"]["classes"]["viral"]["slope"]["reason"] == "no positive rows"


def test_groups_have_their_own_slope_and_prevalence(table):
    t = table()
    metrics = measure(t, {}, 0.5, resamples=20)
    north = np.array(t.groups["site"]) == "north"
    group = metrics["groups"]["site"]["north"]
    assert group["classes"]["viral"]["prevalence"] == pytest.approx(t.truth[north, 2].mean(), abs=1e-6)
    assert group["calibration"]["classes"]["viral"]["slope"] != metrics["calibration"]["classes"]["viral"]["slope"]


@pytest.mark.parametrize(
    ("slope", "level", "words"),
    [
        ((0.5, 0.9), (-0.2, 0.2), "too extreme"),
        ((1.1, 1.9), (0.1, 0.2), "too timid, too low on average"),
        ((0.9, 1.1), (-0.2, -0.1), "too high on average"),
        ((0.9, 1.1), (-0.2, 0.1), "no miscalibration shown"),
        ((None, None), (None, None), "not judged"),
    ],
)
def test_reading_claims_only_what_intervals_leave_no_doubt_of(slope, level, words):
    low_high = [dict(zip(("low", "high"), ends, strict=True)) for ends in (slope, level)]
    assert reading({"slope": low_high[0], "in_the_large": low_high[1]}) == words


def test_bins_of_few_scans_are_not_drawn(table):
    metrics = measure(table(), {}, 0.5, resamples=20)
    record = metrics["calibration"]["classes"]["viral"]
    full = class_reliability(metrics)[2].svg
    record["curve"].append({"confidence": 0.999, "accuracy": 0.0, "n": 4})
    assert class_reliability(metrics)[2].svg == full
