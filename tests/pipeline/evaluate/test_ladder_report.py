"""The report of `strategy: auto`: whose scans its figures are of, and a refusal that says what to do."""

import numpy as np
import pytest

from pipeline.card.facts import CardFacts
from pipeline.evaluate.measure import measure
from pipeline.evaluate.report import ReportContext, Sections, write_adapt_report, write_validation_report
from pipeline.shift.of_validation import ShiftFound

CONTEXT = ReportContext("Adaptation", "", "resnet18", "auto", "imagenet", "multiclass", ("normal", "ill"), "2026-01-05")
ROW = {"held": 0.9, "gain": None, "gain_low": None, "decision": "stands first", "kept": True, "seconds": 2.0}
RUNG = {"name": "nothing", "what": "as it is", "measure": "agreement", "value": 0.7, "low": 0.6, "high": 0.8, **ROW}


def ladder(measured_on):
    return {"kept": "nothing", "measured_on": measured_on, "refusal": "", "rungs": [RUNG], "shift": None}


@pytest.fixture
def page(table, tmp_path):
    def write(measured_on, verdict="Kept: nothing.", *, measured=True):
        t = table(truth=np.eye(2, dtype=np.int8)[np.arange(300) % 2], classes=CONTEXT.classes)
        metrics = measure(t, dict.fromkeys(t.classes, 0.4), 0.5, resamples=20) if measured else None
        write_adapt_report(tmp_path / "a.html", CONTEXT, [], metrics, verdict, ladder=ladder(measured_on))
        return (tmp_path / "a.html").read_text()

    return write


def test_figures_of_source_scans_are_not_passed_off_as_the_targets(page):
    found = page("held-out source scans")
    assert "Given, not measured on the target" in found
    assert 'class="verdict unclear"' in found
    assert "Held-out source scans, class by class" in found
    assert "These figures are not of the target." in found


def test_figures_of_labelled_target_scans_stand_as_such(page):
    found = page("labelled target scans")
    assert "Labelled target scans, class by class" in found
    assert "not of the target" not in found


def test_a_refusal_shows_rungs_and_no_figures(page):
    found = page("held-out source scans", "Refused: bring labels. Seen: heads part.", measured=False)
    assert "✕ Refused" in found
    assert '<p class="headline">Refused: bring labels.</p>' in found
    assert "<li>Seen: heads part.</li>" in found
    assert "stands first" in found
    assert "class by class" not in found


def test_the_table_says_which_evidence_it_shows(page, monkeypatch):
    assert "Agreement on target" in page("held-out source scans")
    monkeypatch.setitem(RUNG, "held", None)
    monkeypatch.setitem(RUNG, "measure", "AUROC")
    found = page("labelled target scans")
    assert "AUROC on target" in found
    assert "on held source" not in found


@pytest.mark.parametrize("with_ladder", [True, False])
def test_a_validation_shows_the_ladder_that_its_bundle_keeps(table, tmp_path, with_ladder):
    t = table(truth=np.eye(2, dtype=np.int8)[np.arange(300) % 2], classes=CONTEXT.classes)
    metrics = measure(t, {}, 0.5, resamples=20)
    kept = ladder("labelled target scans") if with_ladder else None
    facts = CardFacts(metrics={}, versions={}, epochs={"head": 3}, ladder=kept)
    shift = ShiftFound(reason="the bundle keeps no reference statistics")
    write_validation_report(tmp_path / "v.html", metrics, t, CONTEXT, Sections(None, shift, facts))
    found = (tmp_path / "v.html").read_text()
    assert "Not compared: the bundle keeps no reference statistics." in found
    assert ("1 rung was looked at, nothing was kept" in found) == with_ladder
    assert ("stands first" in found) == with_ladder
    assert ("the epochs each took: head 3." in found) != with_ladder
