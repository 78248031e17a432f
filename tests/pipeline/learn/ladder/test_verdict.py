"""What may be claimed of the rung that a ladder ended on, and when nothing may."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.learn.ladder.climb import Climb, Row
from pipeline.learn.ladder.evidence import Evidence
from pipeline.learn.ladder.rungs import HURT
from pipeline.learn.ladder.trial import Trial
from pipeline.learn.ladder.verdict import LOST_AGREEMENT, judge
from pipeline.shift.labels_needed import LabelsNeeded

SPREAD = np.linspace(-0.02, 0.02, 1000)


def ended_on(name, value, *, measure="AUROC", there=None, home=None, source=True, decisions=()):
    def agreement(number):
        return None if number is None else Evidence("agreement", number, number + SPREAD)

    trial = Trial(
        name=name,
        evidence=Evidence(measure, value, value + SPREAD),
        model={},
        agreement=agreement(there),
        kept_agreement=agreement(home),
        uses_source=source,
    )
    rows = [Row(f"rung {n}", "made up", decision=decision) for n, decision in enumerate(decisions)]
    return Climb(rows, {name: trial}, name)


def needed(labels):
    """Only what is needed of a shift report; the labels to measure with are not those to learn from."""
    return SimpleNamespace(
        test=SimpleNamespace(rejected=True),
        labels_needed=[LabelsNeeded("accuracy", 700, "made up"), LabelsNeeded("learning", labels, "made up")],
    )


def test_with_labels_the_held_out_auroc_is_the_claim():
    found = judge(ended_on("target probe", 0.9, source=False), None, shifted=True, wanting="")
    assert found.refusal == ""
    assert "AUROC 0.900" in found.sentence
    assert "0.881 to 0.919" in found.sentence
    assert "target probe" in found.sentence
    assert "chance" not in found.sentence


def test_a_model_that_is_not_shown_better_than_chance_is_told_so():
    found = judge(ended_on("target probe", 0.51, source=False), None, shifted=True, wanting="")
    assert found.refusal == ""
    assert "not shown to be better than chance" in found.sentence


@pytest.mark.parametrize(("source", "told"), [(False, True), (True, False)])
def test_that_the_source_hurt_is_said_where_it_was_dropped(source, told):
    climb = ended_on("kept", 0.9, source=source, decisions=("stands first", f"{HURT}: worse"))
    found = judge(climb, None, shifted=True, wanting="")
    assert ("hurt here and were dropped" in found.sentence) is told


def test_without_labels_and_without_a_shift_nothing_is_refused():
    climb = ended_on("nothing", 0.2, measure="agreement", there=0.2, home=0.9)
    found = judge(climb, None, shifted=False, wanting="no target labels")
    assert found.refusal == ""
    assert not found.repaired
    assert "no target labels" in found.sentence


def test_without_labels_views_must_agree_on_the_target_as_at_home():
    near = ended_on("scanner matched", 0.81, measure="agreement", there=0.91 - LOST_AGREEMENT, home=0.9)
    found = judge(near, None, shifted=True, wanting="no target labels")
    assert found.refusal == ""
    assert found.repaired
    assert "was not measured" in found.sentence
    far = ended_on("nothing", 0.79, measure="agreement", there=0.89 - LOST_AGREEMENT, home=0.9)
    found = judge(far, None, shifted=True, wanting="no target labels")
    assert "cannot be estimated" in found.refusal
    assert "no target labels" in found.refusal
    assert "0.79" in found.refusal
    assert "0.90" in found.refusal
    assert found.sentence == ""


def test_better_agreement_on_the_target_than_at_home_is_no_reason_to_refuse():
    climb = ended_on("nothing", 0.9, measure="agreement", there=0.95, home=0.6)
    assert judge(climb, None, shifted=True, wanting="no target labels").refusal == ""


@pytest.mark.parametrize(("shift", "labels"), [(None, 50), (needed(None), 50), (needed(20), 50), (needed(340), 340)])
def test_a_refusal_says_how_many_labels_to_bring(shift, labels):
    climb = ended_on("nothing", 0.2, measure="agreement", there=0.2, home=0.9)
    found = judge(climb, shift, shifted=True, wanting="no target labels")
    assert f"about {labels} labelled target scans" in found.refusal


def test_a_verdict_is_one_line():
    climb = ended_on("nothing", 0.2, measure="agreement", there=0.2, home=0.9)
    found = judge(climb, None, shifted=True, wanting="no target labels")
    assert "\n" not in found.refusal
    assert not found.refusal.endswith(".")  # the line goes on with where the report lies
