from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.errors import ShiftError
from pipeline.shift.domain import Domain
from pipeline.shift.placements import clustered_auroc
from pipeline.shift.separability import patient_folds, separability


def delong(positives, negatives):
    """AUROC and DeLong's variance, pair by pair."""
    psi = (positives[:, None] > negatives[None]) + 0.5 * (positives[:, None] == negatives[None])
    spread = psi.mean(axis=1).var(ddof=1) / len(positives) + psi.mean(axis=0).var(ddof=1) / len(negatives)
    return psi.mean(), spread


def test_variance_is_delongs_where_no_patient_repeats():
    rng = np.random.default_rng(0)
    score = np.round(np.concatenate([rng.normal(1, 1, 30), rng.normal(0, 1, 50)]), 1)
    positive = np.arange(80) < 30
    found = clustered_auroc(score, positive, np.arange(80), np.zeros(80, int))
    auroc, variance = delong(score[positive], score[~positive])
    assert found.auroc == pytest.approx(auroc)
    assert found.variance == pytest.approx(variance)
    assert found.pairs == 30


def test_variance_agrees_with_resampled_patients_where_they_repeat():
    rng = np.random.default_rng(1)
    units = np.repeat(np.arange(120), 4)
    positive = units < 60
    score = positive * 0.8 + rng.normal(size=120)[units] + 0.3 * rng.normal(size=480)
    found = clustered_auroc(score, positive, units, np.zeros(480, int))
    draws = []
    for _ in range(400):
        drawn = np.concatenate([rng.integers(0, 60, 60), rng.integers(60, 120, 60)])
        rows = (drawn[:, None] * 4 + np.arange(4)).ravel()
        draws.append(roc_auc_score(positive[rows], score[rows]))
    assert found.variance**0.5 == pytest.approx(np.std(draws), rel=0.2)
    alone = clustered_auroc(score, positive, np.arange(480), np.zeros(480, int))
    assert found.variance > 2 * alone.variance


def test_patients_on_both_sides_are_paired():
    # The same patients before and after: their effect cancels, so the paired variance is the smaller one.
    rng = np.random.default_rng(2)
    units = np.tile(np.arange(50), 2)
    positive = np.repeat([True, False], 50)
    score = rng.normal(size=50)[units] + 0.2 * rng.normal(size=100) + 0.2 * positive
    paired = clustered_auroc(score, positive, units, np.zeros(100, int))
    assert paired.variance < 0.3 * clustered_auroc(score, positive, np.arange(100), np.zeros(100, int)).variance


def test_only_scans_of_one_fold_are_compared():
    # Within each fold the order is perfect; the second fold's scores lie 100 higher.
    score, positive = np.array([1.0, 0.0, 101.0, 100.0]), np.array([True, False, True, False])
    assert clustered_auroc(score, positive, np.arange(4), np.array([0, 0, 1, 1])).auroc == 1.0


def test_folds_keep_patients_together_and_sides_even(side):
    one, other = side(100, name="a"), side(40, seed=1, name="b")
    units = np.concatenate([one.units, other.units + one.n_patients])
    incoming = np.arange(units.size) >= one.n
    folds = patient_folds(units, incoming, seed=0)
    assert all(np.unique(folds[units == unit]).size == 1 for unit in np.unique(units))
    for which in (incoming, ~incoming):
        sizes = np.bincount([folds[units == unit][0] for unit in np.unique(units[which])])
        assert sizes.max() - sizes.min() <= 1


def test_alike_sides_give_one_half_and_interval_covers_it(side):
    found = [separability(side(150, seed=s, name="a"), side(150, seed=s + 50, name="b"), seed=s) for s in range(30)]
    covered = sum(f.auroc.low <= 0.5 <= f.auroc.high for f in found)
    assert np.mean([f.auroc.value for f in found]) == pytest.approx(0.5, abs=0.03)
    assert covered >= 26
    assert np.mean([f.proxy_a_distance.value for f in found]) < 0.25


def test_distance_of_unequal_sides_is_not_the_base_rate():
    rng = np.random.default_rng(0)
    one, other = (Domain(rng.normal(size=(n, 5)).astype(np.float32), None, None, ("",) * n) for n in (500, 25))
    found = separability(one, other, seed=0).proxy_a_distance
    assert found.value < 0.6  # plain error 25 / 525 would give 1.8
    assert found.low == 0


def test_separable_sides_reach_the_ends_with_an_exact_interval(side):
    one = side(100, name="a")
    other = replace(side(100, seed=1, name="b"), features=side(100, seed=1).features + 20)
    found = separability(one, other, seed=0)
    assert found.auroc.value == 1.0
    assert 0.8 < found.auroc.low < 1 == found.auroc.high
    assert found.proxy_a_distance.value == 2.0
    assert 1.5 < found.proxy_a_distance.low < 2


def test_one_patient_is_refused(side):
    one = side(40)
    with pytest.raises(ShiftError, match="fewer than two patients"):
        separability(one, one.take(np.flatnonzero(one.units == 0)), seed=0)
