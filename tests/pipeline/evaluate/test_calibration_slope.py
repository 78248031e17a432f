import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from pipeline.evaluate.calibration_slope import EDGE, recalibration


def cohort(n=600, *, seed=0, slope=1.0, level=0.0, patients=150):
    """Probabilities and outcomes with a known miscalibration, several scans a patient that go together."""
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, n)
    stated = rng.normal(size=n) + 0.7 * rng.normal(size=patients)[patient]
    truth = rng.random(n) < expit(level + slope * stated)
    return expit(stated), truth, patient


@pytest.mark.parametrize("seed", range(3))
def test_slope_and_intercept_equal_statsmodels_clustered(seed):
    p, y, patient = cohort(seed=seed, slope=0.6, level=0.4)
    found = recalibration(p, y, patient)
    kind = {"cov_type": "cluster", "cov_kwds": {"groups": patient}, "use_t": True}
    line = sm.Logit(y.astype(float), sm.add_constant(logit(p))).fit(disp=0, tol=1e-12, **kind)
    level = sm.GLM(
        y.astype(float), np.ones((len(y), 1)), family=sm.families.Binomial(), offset=logit(p)
    ).fit(**kind)  # fmt: skip
    limits = {"intercept": line.conf_int()[0], "slope": line.conf_int()[1], "in_the_large": level.conf_int()[0]}
    values = {"intercept": line.params[0], "slope": line.params[1], "in_the_large": level.params[0]}
    for name, record in found.items():
        assert record["value"] == pytest.approx(values[name], abs=2e-6)
        assert (record["low"], record["high"]) == pytest.approx(tuple(limits[name]), abs=2e-6)


def test_two_levels_of_probability_by_hand():
    """At p = 0.2 and 0.8, of ten scans each 4 and 6 have it: the line runs through logit 0.4 and logit 0.6."""
    p = np.repeat([0.2, 0.8], 10)
    y = np.tile([True] * 4 + [False] * 6, 2)
    y[10:] = ~y[10:]
    found = recalibration(p, y, np.arange(20))
    assert found["slope"]["value"] == pytest.approx(logit(0.6) / logit(0.8), abs=1e-6)
    assert found["intercept"]["value"] == pytest.approx(0, abs=1e-6)
    assert found["in_the_large"]["value"] == pytest.approx(0, abs=1e-6)


def test_intervals_know_that_copies_of_a_scan_add_nothing():
    p, y, _ = cohort(200)
    alone = recalibration(p, y, np.arange(200))["slope"]
    copied = recalibration(np.repeat(p, 4), np.repeat(y, 4), np.repeat(np.arange(200), 4))["slope"]
    naive = recalibration(np.repeat(p, 4), np.repeat(y, 4), np.arange(800))["slope"]

    def width(record):
        return record["high"] - record["low"]

    assert copied["value"] == pytest.approx(alone["value"], abs=2e-6)
    assert width(copied) == pytest.approx(width(alone), rel=0.01)
    assert width(copied) > 1.8 * width(naive)


def test_interval_covers_the_truth_as_often_as_it_says():
    inside = 0
    for seed in range(200):
        p, y, patient = cohort(400, seed=seed, slope=0.7, level=-0.3, patients=100)
        record = recalibration(p, y, patient)["slope"]
        inside += record["low"] <= 0.7 <= record["high"]
    assert 182 <= inside <= 198  # 95 % of 200, with 3.3 standard deviations of slack


@pytest.mark.parametrize(
    ("p", "y", "reason"),
    [
        ([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], "separate the class perfectly"),
        ([0.9, 0.8, 0.2, 0.1], [0, 0, 1, 1], "separate the class perfectly"),
        ([0.1, 0.5, 0.5, 0.9], [0, 0, 1, 1], "separate the class perfectly"),  # they touch: still no slope
        ([0.3, 0.3, 0.3, 0.3], [0, 0, 1, 1], "every probability is the same"),
        ([0.1, 0.2, 0.8, 0.9], [0, 0, 0, 0], "no positive rows"),
        ([0.1, 0.2, 0.8, 0.9], [1, 1, 1, 1], "no negative rows"),
    ],
)
def test_where_there_is_no_slope_the_reason_is_told(p, y, reason):
    found = recalibration(np.array(p), np.array(y, bool), np.arange(4))
    assert found["slope"]["value"] is found["intercept"]["value"] is None
    assert reason in found["slope"]["reason"]


def test_too_few_patients_give_a_value_without_an_interval():
    p, y, _ = cohort(40)
    found = recalibration(p, y, np.arange(40) % 9)["slope"]
    assert found["value"] is not None
    assert found["low"] is found["high"] is None
    assert "at least 10 are needed" in found["reason"]


def test_probabilities_of_0_and_1_are_taken_as_nearly_so():
    p, y, patient = cohort()
    p[:2], y[:2] = [0.0, 1.0], [True, False]
    near = p.copy()
    near[:2] = [EDGE, 1 - EDGE]
    assert recalibration(p, y, patient) == recalibration(near, y, patient)


def test_nearly_separated_probabilities_still_give_the_maximum():
    rng = np.random.default_rng(3)
    stated = np.concatenate([rng.uniform(-9, -0.1, 300), rng.uniform(0.1, 9, 300), [0.2], [-0.2]])
    y = np.concatenate([np.zeros(300, bool), np.ones(300, bool), [False], [True]])
    found = recalibration(expit(stated), y, np.arange(602))
    line = sm.Logit(y.astype(float), sm.add_constant(stated)).fit(disp=0, maxiter=200, tol=1e-12)
    assert found["slope"]["value"] == pytest.approx(line.params[1], rel=1e-5)
