import csv
import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluate.detection_plots import drawn_labels, score_distribution
from pipeline.evaluate.detection_wording import detection_verdict, percent
from pipeline.evaluate.measure import measure
from pipeline.evaluate.promise import Promise
from pipeline.evaluate.ranking import AT_SPECIFICITY
from pipeline.evaluate.report import (
    ReportContext,
    per_class_rows,
    write_adapt_report,
    write_per_class_csv,
    write_validation_report,
)
from tests.pipeline.evaluate.detections import make_detections

EVIL = "<b>tu$mo_u$r</b>"
DETECTOR = {
    "name": "padim",
    "stages": ["layer1", "layer2"],
    "chosen_by": "AUCp on 240 unlabelled scans",
    "candidates": [
        {"name": "padim", "aucp": 0.71, "note": "kept"},
        {"name": "knn", "aucp": None, "note": "left out: time"},
    ],
    "fitted_on": {"scans": 900, "patients": 850},
    "calibrated_on": {"scans": 199, "patients": 198, "site": "nih"},
    "recalibrated": True,
    "notes": ["a note on the pool"],
}
CONTEXT = ReportContext(
    title="Validation",
    bundle="3f9a",
    backbone="resnet18@layer3",
    strategy="lp_ft",
    weights="imagenet",
    task="one_class",
    classes=("normal", "anomaly"),
    created="2026-01-05",
    splits={"train": {"normal": 210, "patients": 200}, "val": {"normal": 40, EVIL: 3, "patients": 40}},
    detector=DETECTOR,
)


PROMISE = Promise(0.05, 199)


def measured(promise=PROMISE, **changes):
    t = make_detections(300, kinds=("bacterial", EVIL), **changes)
    return t, measure(t, {"anomaly": 0.95}, 0.95, promise=promise, resamples=60)


def page_of(tmp_path, context=CONTEXT, **changes):
    t, metrics = measured(**changes)
    write_validation_report(tmp_path / "r.html", metrics, t, context)
    return (tmp_path / "r.html").read_text()


def test_lines_to_check_are_listed_as_far_as_they_can_be_read(tmp_path):
    some = replace(
        CONTEXT, detector={**DETECTOR, "left_out": {"scans": 23, "patients": 22}, "doubtful_lines": [*range(40, 63)]}
    )
    page = page_of(tmp_path, some)
    assert "23 scans of 22 patients that stand out most" in page
    assert "The normal scans of these 23 lines of labels.csv" in page
    assert "Line 40, 41, " in page
    assert ", 59, and 3 more in result.json." in page
    one = page_of(tmp_path, replace(CONTEXT, detector={**DETECTOR, "doubtful_lines": [7]}))
    assert "The normal scan of this line of labels.csv" in one
    assert "Line 7." in one
    assert "Check these labels" not in page_of(tmp_path)


def test_the_first_sentence_names_the_site_where_the_promise_is_broken():
    _, metrics = measured(shifted="nih")
    verdict = detection_verdict(metrics)
    rate = metrics["groups"]["site"]["nih"]["false_alarms"]["by_patient"]["value"]
    assert verdict.kind == "against"
    assert verdict.headline.startswith(f"The promised 5 % of false alarms does not hold at nih: {percent(rate)} (95 %")
    assert "gz" not in verdict.headline
    assert verdict.details[0].startswith("Over all sites")


def test_a_group_that_holds_all_normals_is_not_told_twice():
    t = make_detections(300)
    everyone = {"site": ("gz",) * 300, "finding": tuple("x" if ill else "" for ill in t.abnormal)}
    details = " ".join(detection_verdict(measured(groups=everyone, called=np.ones(300, bool))[1]).details)
    assert "Over all sites" not in details
    assert "where finding is" not in details


def test_a_promise_broken_without_sites_is_told_too():
    _, metrics = measured(groups={}, called=np.ones(300, bool))
    verdict = detection_verdict(metrics)
    assert verdict.headline.startswith("The promised 5 % of false alarms does not hold: of ")
    assert verdict.kind == "against"


def test_a_promise_that_scans_agree_with_is_not_called_kept():
    verdict = detection_verdict(measured()[1])
    assert verdict.kind == "shown"
    assert verdict.headline.startswith("The promised 5 % of false alarms agrees with these scans")
    assert "Abnormal scans rank above normal ones: AUROC" in verdict.headline
    kept = detection_verdict(measured(called=np.zeros(300, bool))[1])
    assert kept.headline.startswith("The promised 5 % of false alarms holds")


def test_without_a_promise_or_anomalies_the_verdict_says_so():
    assert "the policy promises no rate" in detection_verdict(measured(promise=None)[1]).headline
    alone = detection_verdict(measured(share=0.0)[1])
    assert alone.kind == "unclear"
    assert "was not measured: no positive rows" in alone.headline
    ill = detection_verdict(measured(share=1.0)[1])
    assert ill.headline.startswith("The false-alarm rate was not measured: no normal rows")


def test_a_detector_that_ranks_backwards_is_called_worse_than_chance():
    t = make_detections(groups={}, called=np.zeros(300, bool))
    backwards = make_detections(groups={}, called=np.zeros(300, bool), anomaly_score=1 - t.anomaly_score)
    verdict = detection_verdict(measure(backwards, {}, 0.95, promise=Promise(0.05), resamples=100))
    assert (verdict.kind, verdict.badge) == ("against", "✕ Worse than chance")


def test_the_page_is_whole_escaped_and_says_what_the_score_is(tmp_path):
    page = page_of(tmp_path, shifted="nih")
    assert page.index("does not hold at nih") < page.index("<table")
    assert "not a probability of disease" in page
    assert "<b>tu" not in page
    assert "&lt;b&gt;tu$mo_u$r&lt;/b&gt;" in page
    assert "://" not in page
    assert not re.search(r'(src|href)="(?!#)', page)
    assert len(re.findall(r"<svg [^>]*role=[^>]*>", page)) == 2
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for words in (
        "199 scans of 198 patients, nih",
        "left out: time",
        "yes, on normal scans of nih",
        "a note on the pool",
    ):
        assert words in page
    assert "Strategy <b>" not in page


def test_the_same_input_gives_the_same_bytes(tmp_path):
    assert page_of(tmp_path) == page_of(tmp_path)


@pytest.mark.parametrize("changes", [{"share": 0.0}, {"share": 1.0}, {"groups": {}}, {"promise": None}, {"labels": ()}])
def test_a_page_is_written_whatever_is_missing(tmp_path, changes):
    page = page_of(tmp_path, replace(CONTEXT, detector={"name": "knn"} if "share" in changes else None), **changes)
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+", "", page.lower())


@pytest.mark.parametrize("with_table", [False, True])
def test_adapts_page_tells_the_detector_and_does_not_judge_the_promise(tmp_path, with_table):
    t, metrics = measured(shifted="nih")
    write_adapt_report(tmp_path / "a.html", CONTEXT, [], metrics, "Fitted padim.", table=t if with_table else None)
    page = (tmp_path / "a.html").read_text()
    assert "does not hold" not in page
    assert "AUCp" in page
    assert "850 patients" in page
    assert ("ROC. Dots" in page) == with_table


def test_adapts_page_of_a_refusal_and_of_normals_alone(tmp_path):
    write_adapt_report(tmp_path / "a.html", CONTEXT, [], None, "Refused: 12 normals.")
    assert "✕ Refused" in (tmp_path / "a.html").read_text()
    _, metrics = measured(share=0.0)
    write_adapt_report(tmp_path / "a.html", CONTEXT, [], metrics, "Fitted padim.")
    assert "? Not measured on anomalies" in (tmp_path / "a.html").read_text()


def test_per_class_csv_has_a_row_for_each_label(tmp_path):
    _, metrics = measured()
    write_per_class_csv(tmp_path / "c.csv", metrics)
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == per_class_rows(metrics)
    assert [row["class"] for row in rows] == ["anomaly", EVIL, "bacterial"]
    assert rows[2][AT_SPECIFICITY] == f"{metrics['labels']['bacterial'][AT_SPECIFICITY]['value']:.4f}"


def test_only_the_most_frequent_labels_are_drawn_and_the_caption_says_so():
    kinds = [f"finding {n}" for n in range(15)]
    t = make_detections(600, kinds=kinds)
    drawn = drawn_labels(t)
    counts = [int(rows.sum()) for rows in drawn.values()]
    assert counts == sorted(counts, reverse=True)
    assert min(counts) >= max(t.findings[name].sum() for name in set(kinds) - set(drawn))
    assert "4 rarer labels are in the table alone" in score_distribution(t, 0.95).caption
