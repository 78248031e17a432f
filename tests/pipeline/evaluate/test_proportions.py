import confidenceinterval
import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.stats.proportion import proportion_confint

from pipeline.evaluate.proportions import effective_trials, wilson, wilson_limits


@pytest.mark.parametrize(("found", "trials"), [(0, 1), (1, 1), (0, 20), (20, 20), (3, 20), (487, 624)])
def test_wilson_agrees_with_statsmodels(found, trials):
    interval = wilson(found, trials)
    assert (interval.low, interval.high) == pytest.approx(proportion_confint(found, trials, method="wilson"), abs=1e-12)
    assert 0 <= interval.low <= found / trials <= interval.high <= 1


def test_wilson_agrees_with_confidenceinterval():
    truth = np.repeat([0, 1], [30, 50])
    called = np.arange(80) % 3 == 0
    value, limits = confidenceinterval.tpr_score(truth.tolist(), called.astype(int).tolist(), method="wilson")
    assert value == pytest.approx(called[30:].mean(), abs=1e-6)
    assert wilson_limits(called[30:].mean(), 50) == pytest.approx(limits, abs=1e-6)


def test_wilson_of_no_trial_has_a_reason():
    found = wilson(0, 0)
    assert (found.low, found.high) == (None, None)
    assert found.reason


def test_effective_trials_are_by_the_clustered_variance_of_statsmodels():
    rng = np.random.default_rng(0)
    patient = rng.integers(0, 40, 200)
    found = rng.random(200) < (rng.random(40) ** 2)[patient]
    fit = sm.OLS(found.astype(float), np.ones(200)).fit(cov_type="cluster", cov_kwds={"groups": patient})
    share = found.mean()
    assert effective_trials(found, patient) == pytest.approx(share * (1 - share) / float(fit.bse[0]) ** 2, rel=1e-9)
    assert effective_trials(found, patient) < 150


def test_effective_trials_by_hand():
    # three patients, (1 of 1), (1 of 2), (0 of 1): p 1/2, deviations 1/2, 0, -1/2; 3/2 * 1/2 / 4 / (1/4) = 3/4, so n
    assert effective_trials(np.array([1, 1, 0, 0]) == 1, np.array([0, 1, 1, 2])) == 4
    # two patients, (2 of 2) and (0 of 2): 2 * 2 / 4 / (1/4) = 4
    assert effective_trials(np.array([1, 1, 0, 0]) == 1, np.array([0, 0, 1, 1])) == 1


def test_effective_trials_are_scans_where_no_patient_repeats_and_patients_where_nothing_can_be_seen():
    found = np.array([1, 0, 1, 1, 1]) == 1
    assert effective_trials(found, np.arange(5)) == 5
    assert effective_trials(np.ones(5, bool), np.array([0, 0, 1, 1, 2])) == 3
    assert effective_trials(found, np.zeros(5, int)) == 1
