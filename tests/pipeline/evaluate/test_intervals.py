import numpy as np
import pytest
from scipy.stats import binom, bootstrap

from pipeline.evaluate.intervals import (
    bca,
    centred,
    leave_out_weights,
    resampled_weights,
    without_errors,
)


def test_resamples_draw_as_many_patients_as_there_are_and_do_not_depend_on_the_chunk():
    small = np.hstack(list(resampled_weights(7, 25, seed=3, size=4)))
    large = np.hstack(list(resampled_weights(7, 25, seed=3, size=100)))
    assert (small == large).all()
    assert small.shape == (7, 25)
    assert (small.sum(axis=0) == 7).all()
    assert (small != np.hstack(list(resampled_weights(7, 25, seed=4, size=100)))).any()


def test_weights_leave_out_each_part_once():
    weights = np.hstack(list(leave_out_weights([np.array([0]), np.array([3, 2])], 4, size=1)))
    assert weights.tolist() == [[0, 1], [1, 1], [1, 0], [1, 0]]


def test_bca_of_a_mean_agrees_with_scipy():
    x = np.random.default_rng(0).exponential(size=60)
    weights = np.hstack(list(resampled_weights(60, 20_000, seed=1, size=1000)))
    jackknife = (x.sum() - x) / 59
    found = bca(x.mean(), x @ weights / 60, jackknife)
    limits = bootstrap((x,), np.mean, n_resamples=20_000, method="BCa", rng=0).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(limits), abs=0.01)


def test_bca_without_bias_or_skew_is_the_percentile_interval():
    replicates = np.linspace(-1, 1, 2001)
    found = bca(0.0, replicates, np.array([-1.0, 1.0]))
    assert (found.low, found.high) == pytest.approx((-0.95, 0.95))


def test_bca_covers_the_true_mean_about_as_often_as_it_says():
    hits = 0
    for seed in range(200):
        x = np.random.default_rng([seed, 1]).normal(size=40)
        weights = next(resampled_weights(40, 400, seed=seed, size=400))
        found = bca(x.mean(), x @ weights / 40, (x.sum() - x) / 39)
        hits += found.low <= 0 <= found.high
    assert 178 <= hits <= 199  # 95 % of 200 is 190; small samples fall a little short


def test_bca_gives_a_reason_where_the_value_lies_outside_its_resamples():
    found = bca(2.0, np.linspace(0, 1, 100), np.array([0.0, 1.0]))
    assert found.low is None
    assert found.reason


def test_centred_interval_is_moved_onto_the_value_and_cut_at_zero():
    found = centred(0.1, np.linspace(1.0, 3.0, 2001))
    assert (found.low, found.high) == pytest.approx((0.0, 1.05))


@pytest.mark.parametrize("units", [1, 5, 40])
def test_flawless_share_has_the_clopper_pearson_limit(units):
    found = without_errors(1.0, units)
    assert found.high == 1
    assert binom.sf(units - 1, units, found.low) == pytest.approx(0.025)
    mirrored = without_errors(0.0, units)
    assert (mirrored.low, mirrored.high) == pytest.approx((0, 1 - found.low))
