import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from pipeline.evaluate.calibration_error import calibration_errors, equal_mass_bins
from pipeline.evaluate.estimates import estimate


def slow_ece(confidence, right, bins):
    """A plain loop over the claims of each bin."""
    total = 0.0
    for b in sorted(set(bins)):
        inside = [i for i in range(len(bins)) if bins[i] == b]
        gap = sum(right[i] for i in inside) - sum(confidence[i] for i in inside)
        total += abs(gap) / len(bins)
    return total


def slow_equal_width(confidence):
    return [max(0, int(np.ceil(c * 15)) - 1) for c in confidence]


def slow_equal_mass(confidence):
    edges = [float(np.percentile(confidence, 100 * k / 15)) for k in range(1, 15)]
    return [sum(c > edge for edge in edges) for c in confidence]


def values(table):
    statistic = calibration_errors(table)
    found = statistic.compute(np.ones((int(table.patient_index.max()) + 1, 1)))[:, 0]
    return {q.name[1:]: v for q, v in zip(statistic.quantities, found, strict=True)}


@pytest.mark.parametrize("seed", range(3))
def test_errors_equal_a_loop_over_claims(table, seed):
    t = table(seed=seed)
    found = values(t)
    for stage, p in (("before", t.uncalibrated), ("after", t.probability)):
        top, right = p.max(axis=1), (p.argmax(axis=1) == t.truth.argmax(axis=1)).astype(float)
        assert found["ece_equal_mass", stage] == pytest.approx(slow_ece(top, right, slow_equal_mass(top)))
        each = [slow_ece(p[:, c], t.truth[:, c], slow_equal_width(p[:, c])) for c in range(3)]
        assert found["ece_classwise", stage] == pytest.approx(np.mean(each))
    assert found["classes", "viral", "ece"] == pytest.approx(each[2])


def test_several_labels_a_scan_pool_all_claims(table):
    t = table(task="multilabel")
    p, y = t.probability.ravel(), t.truth.ravel()
    assert values(t)["ece_equal_mass", "after"] == pytest.approx(slow_ece(p, y, slow_equal_mass(p)))


def test_bins_of_equal_mass_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    p = rng.beta(0.3, 2, 500).round(2)  # with ties
    y = rng.random(500) < p
    bins = equal_mass_bins(p)
    share, confidence = calibration_curve(y, p, n_bins=15, strategy="quantile")
    assert [p[bins == b].mean() for b in np.unique(bins)] == pytest.approx(confidence)
    assert [y[bins == b].mean() for b in np.unique(bins)] == pytest.approx(share)


def test_bins_of_equal_mass_hold_equally_many():
    assert np.bincount(equal_mass_bins(np.linspace(0, 1, 150))).tolist() == [10] * 15


def test_leaving_out_a_patient_the_quick_way_equals_doing_so(table):
    t = table(120, patients=30)
    statistic = calibration_errors(t)
    people = int(t.patient_index.max()) + 1
    slow = statistic.compute(1 - np.eye(people))
    assert statistic.left_out() == pytest.approx(slow)


def test_a_resample_is_a_table_with_rows_repeated(table):
    """With the bins of the whole table kept."""
    t = table(90, patients=20)
    people = int(t.patient_index.max()) + 1
    weights = np.random.default_rng(1).integers(0, 3, people).astype(float)
    found = calibration_errors(t).compute(weights[:, None])[:, 0]
    repeated = np.repeat(np.arange(90), weights[t.patient_index].astype(int))
    top, right = t.probability.max(axis=1), (t.probability.argmax(axis=1) == t.truth.argmax(axis=1)).astype(float)
    bins = np.array(slow_equal_mass(top))
    assert found[1] == pytest.approx(slow_ece(top[repeated], right[repeated], bins[repeated].tolist()))


def test_estimates_have_an_interval(table):
    t = table()
    people = int(t.patient_index.max()) + 1
    found = estimate([calibration_errors(t)], patients=people, rows=t.n, resamples=100, seed=0)[0]
    for number in found.values():
        assert number["low"] <= number["value"] <= number["high"]
        assert number["method"] == "centred percentile"
