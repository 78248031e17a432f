import numpy as np
import pytest

from pipeline.evaluate.decision_curve import AT, CURVE, curve, decision_record, decision_statistic, decision_statistics
from pipeline.evaluate.estimates import estimate
from pipeline.evaluate.intervals import bca, resampled_weights


def slow_net_benefit(p, y, threshold):
    tp = sum(1 for a, b in zip(p, y, strict=True) if a >= threshold and b)
    fp = sum(1 for a, b in zip(p, y, strict=True) if a >= threshold and not b)
    return tp / len(p) - fp / len(p) * threshold / (1 - threshold)


def test_net_benefit_by_hand():
    """Ten scans, four ill; from 0.25 on, three ill and two well are called: 3/10 - 2/10 * 1/3 = 7/30."""
    p = np.array([0.9, 0.6, 0.25, 0.1, 0.7, 0.3, 0.2, 0.1, 0.05, 0.0])
    y = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], bool)
    model, everyone = curve(p, y, (0.25,))
    assert model == pytest.approx([7 / 30])
    assert everyone == pytest.approx([4 / 10 - 6 / 10 / 3])


def test_everyone_is_worth_the_prevalence_at_first_and_nothing_at_the_prevalence(table):
    t = table()
    y = t.truth[:, 1] == 1
    share = y.mean()
    assert curve(t.probability[:, 1], y, (1e-12, float(share)))[1] == pytest.approx([share, 0], abs=1e-9)


def test_curve_equals_a_loop_and_a_perfect_model_is_worth_the_prevalence(table):
    t = table(80)
    p, y = t.probability[:, 2], t.truth[:, 2] == 1
    assert curve(p, y)[0] == pytest.approx([slow_net_benefit(p, y, threshold) for threshold in CURVE])
    assert curve(y.astype(float), y)[0] == pytest.approx([y.mean()] * len(CURVE))


def test_figures_with_an_interval_equal_a_slow_loop_over_repeated_rows(table):
    t = table(150, patients=40)
    patient, p, y = t.patient_index, t.probability[:, 1], t.truth[:, 1] == 1
    people = int(patient.max()) + 1
    statistic = decision_statistic("bacterial", p, y, patient, people)
    found = estimate([statistic], patients=people, rows=150, resamples=60, seed=4)[0]
    weights = np.hstack(list(resampled_weights(people, 60, seed=4, size=60)))
    repeated = [np.repeat(np.arange(150), w[patient].astype(int)) for w in weights.T]
    for threshold in (0.1, 0.3):

        def over_all(rows, threshold=threshold):
            return slow_net_benefit(p[rows], y[rows], threshold) - slow_net_benefit(
                np.ones(len(rows)), y[rows], threshold
            )

        slow = bca(
            over_all(np.arange(150)),
            np.array([over_all(rows) for rows in repeated]),
            np.array([over_all(np.flatnonzero(patient != one)) for one in range(people)]),
        )
        number = found["decision_curves", "bacterial", "over_treat_all", f"{threshold:g}"]
        assert (number["low"], number["high"]) == pytest.approx((slow.low, slow.high), abs=1e-6)


def record_of(t):
    people = int(t.patient_index.max()) + 1
    results = estimate(decision_statistics(t), patients=people, rows=t.n, resamples=200, seed=0)
    return decision_record(t, {name: number for each in results for name, number in each.items()})


def test_a_probability_exactly_at_a_threshold_is_acted_on(table):
    t = table()
    p = np.full((300, 3), 0.0)
    p[:, 1] = 0.3
    found = record_of(table(probability=p))["classes"]["bacterial"]
    share = t.truth[:, 1].mean()
    assert found["net_benefit"][29] == pytest.approx(share - (1 - share) * 3 / 7, abs=1e-6)
    assert found["net_benefit"][30] == 0
    assert found["at"][AT.index(0.3)]["net_benefit"]["value"] == found["net_benefit"][29]


def test_better_needs_both_intervals_above_zero_and_the_normal_class_is_not_acted_on(table):
    found = record_of(table(signal=3.0))
    assert list(found["classes"]) == ["bacterial", "viral"]
    points = {point["threshold"]: point for point in found["classes"]["viral"]["at"]}
    assert points[0.3]["better"]
    noise = record_of(table(signal=0.0))
    assert not any(point["better"] for point in noise["classes"]["viral"]["at"])


def test_ranks_have_no_decision_curve(table):
    t = table(classes=("normal", "anomaly"), task="one_class")
    found = decision_record(t, {})
    assert decision_statistics(t) == []
    assert found["classes"] is None
    assert "a rank" in found["reason"]


def test_a_class_that_is_not_there_says_so(table):
    t = table()
    truth = t.truth.copy()
    truth[truth[:, 2] == 1] = [1, 0, 0]
    found = record_of(table(truth=truth))["classes"]["viral"]
    assert found["at"] == []
    assert found["reason"] == "no positive rows"
