"""Card and metadata after another policy was set."""

import json

import numpy as np
import pytest
from monai.bundle import verify_metadata

from models.bundle import open_bundle
from pipeline.card.facts import FILE, read_facts
from pipeline.card.render import CARD, METADATA, figure, model_card
from pipeline.decide.decision_scores import read_decision_scores
from pipeline.decide.policy import parse_policy
from pipeline.decide.set_policy import set_policy

POLICIES = {"volume": "sensitivity=0.5", "multilabel": "cost=3@0.2", "one_class": "false_alarm=0.3"}


@pytest.fixture(params=POLICIES)
def changed(request, made, tmp_path):
    return made(request.param), set_policy(
        made(request.param).folder, tmp_path / "new", parse_policy(POLICIES[request.param])
    )


def shares(called, positive):
    return called[positive].mean(), (~called[~positive]).mean()


def test_figures_are_those_of_the_new_thresholds(changed):
    """Counted from the kept scores by hand."""
    _, made = changed
    record, metrics = made.record, read_facts(made.bundle).metrics
    one_class = record.task == "one_class"
    scores = read_decision_scores(made.bundle, labels=len(record.classes), one_class=one_class)
    threshold = record.policy.raw_threshold if one_class else record.anomaly_threshold
    sensitivity, specificity = shares(scores.score >= threshold, scores.side == 1)
    assert metrics["anomaly"]["sensitivity"]["value"] == pytest.approx(sensitivity, abs=1e-6)
    assert metrics["anomaly"]["specificity"]["value"] == pytest.approx(specificity, abs=1e-6)
    assert metrics["anomaly"]["threshold"] == record.anomaly_threshold
    if not one_class:
        for n, name in enumerate(record.classes):
            found = shares(scores.probability[:, n] >= record.thresholds[name], scores.truth[:, n] == 1)
            row = metrics["classes"][name]
            assert [row[m]["value"] for m in ("sensitivity", "specificity")] == pytest.approx(found, abs=1e-6)
            assert row["threshold"] == record.thresholds[name]


def test_the_same_policy_again_gives_the_figures_from_before(made, tmp_path):
    """The counts agree with `measure`, whose rows stand in another order."""
    before = read_facts(made("volume")).metrics
    after = read_facts(
        set_policy(made("volume").folder, tmp_path / "b", parse_policy("sensitivity=0.95")).bundle
    ).metrics
    for name, row in before["classes"].items():
        for metric in ("sensitivity", "specificity", "ppv", "npv", "f1"):
            assert after["classes"][name][metric]["value"] == row[metric]["value"]
    assert np.isclose(after["anomaly"]["npv"]["low"], before["anomaly"]["npv"]["low"], atol=0.1)


def test_what_no_threshold_touches_stays_and_nothing_of_the_old_policy_does(changed):
    parent, made = changed
    before, after = read_facts(parent).metrics, read_facts(made.bundle).metrics
    for name, row in before["classes"].items():
        assert after["classes"][name]["auroc"] == row["auroc"]
        assert "wilson" in row
        assert "wilson" not in after["classes"][name]
    assert after["calibration"] == before["calibration"]
    for group in after["groups"]["site"].values():
        assert group["macro"]["sensitivity"]["value"] is None
        assert "another policy" in group["macro"]["sensitivity"]["reason"]
    for row in after.get("labels", {}).values():
        assert row["specificity"]["value"] is None


def test_card_and_metadata_follow_and_are_verified(changed):
    parent, made = changed
    card, rule = made.bundle.text(CARD), made.record.policy.rule.text
    metrics = read_facts(made.bundle).metrics
    assert f"policy {rule}:" in card
    assert f"| {made.record.anomaly_threshold:.4f} | " in card
    assert figure(metrics["anomaly"]["ppv"]) in card
    assert f"| Parent | {parent.digest} |" in card
    assert card == model_card(made.record, read_facts(made.bundle))
    given = json.loads(made.bundle.text(METADATA))
    assert given["version"] == "0.2.0"
    assert given["changelog"]["0.2.0"] == f"policy {rule}; weights of bundle {parent.digest[:12]}"
    assert given["eval_metrics"]["sensitivity"] == metrics["anomaly"]["sensitivity"]["value"]
    folder = made.bundle.folder
    verify_metadata(meta_file=str(folder / METADATA), filepath=str(folder / "configs/schema.json"))


def test_changes_add_up(made, tmp_path):
    set_policy(made("volume").folder, tmp_path / "a", parse_policy("sensitivity=0.5"))
    twice = set_policy(tmp_path / "a", tmp_path / "b", parse_policy("sensitivity=0.6")).bundle
    assert list(json.loads(twice.text(METADATA))["changelog"]) == ["0.1.0", "0.2.0", "0.3.0"]
    assert len(json.loads(open_bundle(tmp_path / "b").text(FILE))["changes"]) == 2
