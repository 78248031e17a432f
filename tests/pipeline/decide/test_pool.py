import numpy as np
import pytest
from scipy.stats import binomtest

from pipeline.decide.conformal import conformal_scale
from pipeline.decide.pool import share_normal
from pipeline.errors import CohortError


def pool(share, n=400, seed=0, calibration=199):
    """Conformal p-values of a pool of which a share is normal."""
    rng = np.random.default_rng(seed)
    scale = conformal_scale(rng.normal(size=calibration), range(calibration))
    normal = rng.random(n) < share
    return scale.p_value(rng.normal(size=n) + np.where(normal, 0, 5))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_it_finds_the_share_on_average(share):
    found = np.mean([share_normal(pool(share, seed=seed))[0] for seed in range(40)])
    assert found == pytest.approx(share, abs=0.04)  # capped at 1, so a little low there


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_its_limits_hold_the_truth_about_as_often_as_they_say(share):
    held = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        p = np.where(rng.random(100) < share, rng.random(100), 0.01)
        _, low, high = share_normal(p)
        held.append(low <= share <= high)
    assert 0.91 <= np.mean(held) <= 0.99


def test_limits_are_wilsons_on_the_count():
    p = np.concatenate([np.full(12, 0.9), np.full(28, 0.1)])
    other = binomtest(12, 40).proportion_ci(0.95, method="wilson")
    assert share_normal(p) == pytest.approx((0.6, 2 * other.low, 2 * other.high))


def test_it_stays_within_0_and_1():
    assert share_normal(np.full(30, 0.9)) == (1.0, 1.0, 1.0)
    value, low, high = share_normal(np.full(30, 0.005))
    assert value == low == 0
    assert 0 < high < 0.25


@pytest.mark.parametrize("p", [np.full(19, 0.5), np.full(30, 1.2), np.full(30, np.nan), np.ones((5, 5))])
def test_too_few_scans_or_other_numbers_are_refused(p):
    with pytest.raises(CohortError):
        share_normal(p)
