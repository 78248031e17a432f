import csv
import re

import numpy as np
import pytest

from pipeline.evaluate.measure import measure
from pipeline.evaluate.promise import Promise
from pipeline.evaluate.report import (
    DISCLAIMER,
    EpochRow,
    ReportContext,
    per_class_rows,
    write_adapt_report,
    write_per_class_csv,
    write_validation_report,
)
from tests.pipeline.evaluate.detections import make_detections

EVIL = "<script>alert(1)</script>"
CONTEXT = ReportContext(
    title="Validation & more",
    bundle="3f9a1c20",
    backbone="resnet18",
    strategy="lp_ft",
    weights="imagenet",
    task="multiclass",
    classes=("normal", EVIL, "viral"),
    created="2026-01-05T10:20:00Z",
    refused={"MISSING_SLICE": 4},
    notes=("Leakage could not be checked.",),
    config={"epochs": "10"},
    versions={"torch": "2.13"},
    splits={"train": {"normal": 210, EVIL: 90}, "val": {"normal": 40}},
)
HISTORY = [EpochRow("head", 1, 1.0, 1.1, None), EpochRow("fine_tune", 1, 0.8, 0.9, 0.7)]


@pytest.fixture
def measured(table):
    sites = tuple(np.where(np.arange(300) % 3 == 0, "'><img src=x onerror=alert(2)>", "north"))
    t = table(classes=CONTEXT.classes, groups={"site": sites}, random_reason="weights: none")
    return t, measure(t, dict.fromkeys(t.classes, 0.4), 0.5, resamples=50)


@pytest.fixture
def page(measured, tmp_path):
    table, metrics = measured
    write_validation_report(tmp_path / "report.html", metrics, table, CONTEXT)
    return (tmp_path / "report.html").read_text()


def test_page_holds_everything_itself(page):
    assert "://" not in page
    assert not re.search(r'(src|href)="(?!#)', page)
    assert "url(#" in page
    assert not re.search(r"url\((?!#)|@import", page)


def test_names_from_outside_are_escaped(page):
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_verdict_comes_first_and_the_disclaimer_is_there(page):
    assert page.index("Better than chance on these scans") < page.index("<table")
    assert page.index("Leakage could not be checked") < page.index("<table")
    assert DISCLAIMER in page
    assert "MISSING_SLICE" in page
    assert "weights: none" in page


def test_every_plot_has_a_text_alternative_and_ids_of_its_own(page):
    drawings = re.findall(r"<svg [^>]*role=[^>]*>", page)
    assert len(drawings) == 3 + 3 + 2  # overall, reliability of each class, decision curves of all but the normal one
    assert all('aria-label="' in drawing for drawing in drawings)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_the_same_input_gives_the_same_bytes(measured, page, tmp_path):
    table, metrics = measured
    write_validation_report(tmp_path / "again.html", metrics, table, CONTEXT)
    assert (tmp_path / "again.html").read_text() == page


@pytest.mark.parametrize(
    ("verdict", "with_metrics", "kind"),
    [("refused: one class only", False, "against"), ("adapted", False, "unclear"), ("adapted", True, "shown")],
)
def test_adapt_report_with_and_without_metrics(measured, tmp_path, verdict, with_metrics, kind):
    metrics = measured[1] if with_metrics else None
    write_adapt_report(tmp_path / "a.html", CONTEXT, HISTORY if with_metrics else [], metrics, verdict)
    page = (tmp_path / "a.html").read_text()
    assert f'class="verdict {kind}"' in page
    assert verdict in page
    assert ("How it learned" in page) == with_metrics
    assert "210" in page


def test_report_of_one_class_present_is_written_with_reasons(table, tmp_path):
    t = table(truth=np.tile(np.array([1, 0, 0], np.int8), (300, 1)))
    metrics = measure(t, {}, 0.5, resamples=20)
    write_validation_report(tmp_path / "r.html", metrics, t, CONTEXT)
    page = (tmp_path / "r.html").read_text()
    assert "No overall AUROC could be computed" in page
    assert "no threshold for this class" in page
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+", "", page.lower())


@pytest.mark.parametrize("task", ["multilabel", "one_class"])
def test_report_of_other_tasks_is_written(table, tmp_path, task):
    t = table(classes=("normal", "anomaly"), task=task)
    metrics = measure(t, {"anomaly": 0.5}, 0.5, resamples=20)
    write_validation_report(tmp_path / "r.html", metrics, t, CONTEXT)
    assert "What is taken for what" not in (tmp_path / "r.html").read_text()


def test_per_class_csv_has_a_row_a_class_and_four_decimals(table, tmp_path):
    t = table(classes=("normal", "=cmd", "viral"))
    metrics = measure(t, {"normal": 0.4}, 0.5, resamples=20)
    write_per_class_csv(tmp_path / "c.csv", metrics)
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == per_class_rows(metrics)
    assert [row["class"] for row in rows] == ["normal", "'=cmd", "viral"]
    assert rows[0]["auroc"] == f"{metrics['classes']['normal']['auroc']['value']:.4f}"
    assert rows[0]["threshold"] == "0.4000"
    assert rows[1]["sensitivity"] == rows[1]["sensitivity_low"] == ""
    assert list(rows[0])[:6] == ["class", "support", "threshold", "auroc", "auroc_low", "auroc_high"]


def test_where_shortcuts_were_not_looked_for_the_report_says_so(page):
    assert "Shortcuts were not looked for; <code>scanshift validate --shortcuts</code> does." in page


def test_details_of_each_class_are_in_the_page(page, measured):
    metrics = measured[1]
    record = metrics["classes"]["viral"]
    for number in (record["specificity_at_95_sensitivity"]["value"], record["auroc_delong"]["low"]):
        assert f"{number:.3f}" in page
    assert f"{100 * record['prevalence']:.1f} %" in page
    share = record["wilson"]["specificity"]
    assert f"{share['low']:.3f} – {share['high']:.3f}" in page


@pytest.mark.parametrize("task", ["multiclass", "one_class"])
def test_a_small_group_is_shown_as_fewer_than_ten_without_figures(table, tmp_path, task):
    site = np.where(np.arange(300) < 14, "hamlet", "town")
    people = tuple(f"p{n // 2}" for n in range(300))
    make = make_detections if task == "one_class" else table
    t = make(300, patient=people, groups={"site": tuple(site)})
    metrics = measure(t, {"anomaly": 0.95}, 0.95, resamples=20, promise=Promise(0.05))
    write_validation_report(tmp_path / "r.html", metrics, t, CONTEXT)
    rows = re.findall(r"<tr>(?:(?!</tr>).)*hamlet(?:(?!</tr>).)*</tr>", (tmp_path / "r.html").read_text(), re.DOTALL)
    assert rows
    for row in rows:
        shown = re.sub(r"<[^>]*>", " ", row).replace("&lt;10", "")
        assert not re.search(r"\d", shown.replace("fewer than 10", ""))
    assert any("&lt;10" in row for row in rows)


def test_per_class_csv_has_what_has_a_formula_after_the_metrics(measured):
    row, record = per_class_rows(measured[1])[2], measured[1]["classes"]["viral"]
    assert row["prevalence"] == f"{record['prevalence']:.4f}"
    assert row["auroc_delong_low"] == f"{record['auroc_delong']['low']:.4f}"
    assert float(row["auroc_p_adjusted"]) == pytest.approx(record["auroc_delong"]["adjusted"], rel=0.01)
    assert row["npv_wilson_high"] == f"{record['wilson']['npv']['high']:.4f}"
    assert row["sensitivity_at_90_specificity"] == f"{record['sensitivity_at_90_specificity']['value']:.4f}"
