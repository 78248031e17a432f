import numpy as np
import pytest

from pipeline.decide.prediction_sets import calibrate_findings, calibrate_sets, prediction_sets, undetermined
from pipeline.evaluate.decisions import measure_decisions
from pipeline.evaluate.risk_coverage import aurc, rank_errors, risk_curve, selective_risk
from pipeline.evaluate.set_coverage import table_sets


def plain_aurc(sure, wrong, weight):
    """The definition, as loops."""
    total = 0.0
    for s, w in zip(sure, weight, strict=True):
        kept = [(e, v) for t, e, v in zip(sure, wrong, weight, strict=True) if t >= s]
        mass = sum(v for _, v in kept)
        total += w * (sum(e * v for e, v in kept) / mass if mass else 0.0)
    return total / sum(weight)


def test_risk_and_coverage_worked_by_hand():
    ranked = rank_errors(np.array([0.9, 0.8, 0.8, 0.6]), np.array([False, True, False, True]), np.arange(4))
    coverage, risk = selective_risk(ranked, np.ones((4, 1)))
    assert coverage[:, 0].tolist() == [0.25, 0.75, 0.75, 1.0]
    assert risk[:, 0].tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 2])
    assert aurc(ranked, np.ones((4, 1)))[0] == pytest.approx((0 + 1 / 3 + 1 / 3 + 1 / 2) / 4)
    assert risk_curve(ranked) == [
        {"coverage": 0.25, "risk": 0.0},
        {"coverage": 0.75, "risk": 0.333333},
        {"coverage": 1.0, "risk": 0.5},
    ]


def test_aurc_is_that_of_the_definition_under_weights_and_ties():
    rng = np.random.default_rng(0)
    for _ in range(30):
        n = int(rng.integers(2, 25))
        sure, wrong = rng.integers(0, 6, n) / 6, rng.random(n) < 0.4
        patient = rng.integers(0, 5, n)
        weights = rng.integers(0, 3, (5, 3)).astype(float)
        weights[:, 0] = 1
        found = aurc(rank_errors(sure, wrong, patient), weights)
        for column in range(3):
            weight = weights[patient, column]
            if weight.sum():
                assert found[column] == pytest.approx(plain_aurc(sure, wrong, weight))


def halves(table, level=0.1):
    """Sets from one made-up table, measured on another from the same source."""
    sets = table_sets(table(n=900, seed=1, patients=400), level)
    return sets, table(n=900, seed=2, patients=400)


def measured(sets, fresh, **changes):
    reasons = undetermined(sets, fresh.probability) if sets else ("",) * fresh.n
    referrals = [f"UNCERTAIN: {why}" if why else "" for why in reasons]
    return measure_decisions(fresh, sets, referrals, threshold=0.5, resamples=200, **changes)


def test_coverage_is_that_of_a_plain_loop_each_patient_once(table):
    sets, fresh = halves(table)
    told = measured(sets, fresh)["conformal"]
    held = prediction_sets(sets, fresh.probability).present
    for c, name in enumerate(fresh.classes):
        by_patient = {}
        for n in range(fresh.n):
            if fresh.truth[n, c]:
                by_patient.setdefault(fresh.patient[n], []).append(held[n, c])
        expected = np.mean([np.mean(several) for several in by_patient.values()])
        row = told["classes"][name]["present"]
        assert row["coverage"]["value"] == pytest.approx(expected, abs=1e-6)
        assert row["coverage"]["low"] < expected < row["coverage"]["high"]
        assert (row["n_patients"], row["n"]) == (len(by_patient), int(fresh.truth[:, c].sum()))
        assert row["promised"] == 0.9
        assert row["spread"]["low"] < 0.9 < row["spread"]["high"]
    assert told["set_size"]["value"] == pytest.approx(held.sum(axis=1).mean(), abs=1e-6)
    assert sum(told["sizes"].values()) == fresh.n


def test_coverage_breaks_where_scans_are_of_another_kind_and_holds_where_they_are_not(table):
    sets, fresh = halves(table)
    away = np.asarray(fresh.groups["site"]) == "south"
    probability = fresh.probability.copy()
    probability[away] = probability[away][:, [1, 2, 0]]  # at this site the outputs mean something else
    shifted = table(
        n=900, seed=2, patients=400, truth=fresh.truth, probability=probability, anomaly_score=1 - probability[:, 0]
    )
    told = measured(sets, shifted)["conformal"]["groups"]["site"]
    south = {row["present"]["promise"] for row in told["south"]["classes"].values()}
    north = {row["present"]["promise"] for row in told["north"]["classes"].values()}
    assert south == {"broken"}
    assert "broken" not in north


def test_referrals_are_counted_with_what_they_spare(table):
    sets, fresh = halves(table)
    told = measured(sets, fresh)["referral"]
    reasons = undetermined(sets, fresh.probability)
    kept = np.array([not why for why in reasons])
    wrong = (fresh.anomaly_score >= 0.5) != fresh.abnormal
    assert told["n_referred"] == (~kept).sum() == told["codes"]["UNCERTAIN"]
    assert told["error"]["value"] == pytest.approx(wrong.mean(), abs=1e-6)
    assert told["error_not_referred"]["value"] == pytest.approx(wrong[kept].mean(), abs=1e-6)
    assert set(told["groups"]["site"]) == {"north", "south"}


def test_findings_have_both_answers(table):
    fresh = table(n=400, task="multilabel")
    sets = calibrate_findings(fresh.probability, fresh.truth, fresh.patient, classes=fresh.classes, level=0.2)
    told = measured(sets, fresh)
    assert set(told["conformal"]["classes"]["viral"]) == {"present", "absent"}
    assert told["conformal"]["set_size"]["value"] <= 2
    assert "sizes" not in told["conformal"]
    assert told["risk_coverage"]["aurc"]["value"] is not None


def test_a_class_without_a_limit_promises_nothing(table):
    few = table(n=300)
    sets = calibrate_sets(few.probability[:20], few.truth[:20], few.patient[:20], classes=few.classes, level=0.04)
    row = measured(sets, few)["conformal"]["classes"]["normal"]["present"]
    assert (row["coverage"]["value"], row["promised"], row["promise"]) == (1.0, None, None)
    assert "nothing is promised" in row["promise_reason"]


def test_a_bundle_without_sets_says_why(table):
    told = measured(None, table(n=100))
    assert told["conformal"] == {"level": None, "reason": told["conformal"]["reason"]}
    assert told["referral"]["n_referred"] == 0
    assert table_sets(table(), None) is None


def test_no_risk_for_ranks(table):
    plain = table(classes=("normal", "anomaly"), task="one_class")
    told = measured(None, plain)
    assert told["risk_coverage"]["aurc"] is None
    assert "rank" in told["risk_coverage"]["reason"]
    assert table_sets(plain, 0.1) is None
