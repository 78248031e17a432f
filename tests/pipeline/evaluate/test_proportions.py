import confidenceinterval
import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from pipeline.evaluate.proportions import wilson, wilson_limits


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
