import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from pipeline.evaluate.ranking import FIXED, SHARES, fixed_points, rank_scores, ranking, ranking_areas


def drawn(seed, n=60, patients=20, levels=7):
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, n)
    return rng.integers(0, levels, n) / levels, rng.random(n) < 0.4, patient


@given(st.integers(0, 10_000), st.sampled_from([2, 7, 10_000]))
def test_areas_equal_scikit_learn_on_rows_repeated_by_weight_with_ties(seed, levels):
    score, positive, patient = drawn(seed, levels=levels)
    weights = np.random.default_rng(seed + 1).integers(0, 4, (20, 3)).astype(float)
    areas = ranking_areas(rank_scores(score, positive, patient), weights)
    for column in range(3):
        rows = np.repeat(np.arange(60), weights[patient, column].astype(int))
        if positive[rows].all() or not positive[rows].any():
            assert np.isnan(areas[:, column]).all()
            continue
        assert areas[0, column] == pytest.approx(roc_auc_score(positive[rows], score[rows]), abs=1e-12)
        assert areas[1, column] == pytest.approx(average_precision_score(positive[rows], score[rows]), abs=1e-12)


def test_area_by_hand_counts_a_tie_as_half():
    # positives 0.8 and 0.5, negatives 0.5 and 0.1: pairs won 1 + 1, 1/2 + 1, of 4
    score, positive = np.array([0.8, 0.5, 0.5, 0.1]), np.array([True, True, False, False])
    auroc, auprc = ranking_areas(rank_scores(score, positive, np.arange(4)), np.ones((4, 1)))[:, 0]
    assert auroc == 3.5 / 4
    assert auprc == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@given(st.integers(0, 10_000), st.sampled_from([2, 7, 10_000]))
def test_fixed_points_are_the_best_of_scikit_learns_roc_curve_on_rows_repeated_by_weight(seed, levels):
    score, positive, patient = drawn(seed, levels=levels)
    weights = np.random.default_rng(seed + 1).integers(0, 4, (20, 3)).astype(float)
    points = fixed_points(ranking(rank_scores(score, positive, patient), weights))
    for column in range(3):
        rows = np.repeat(np.arange(60), weights[patient, column].astype(int))
        if positive[rows].all() or not positive[rows].any():
            assert np.isnan(points[:, column]).all()
            continue
        false_share, found_share, _ = roc_curve(positive[rows], score[rows], drop_intermediate=False)
        best = [found_share[1 - false_share >= share - 1e-12].max() for share in SHARES]
        best += [(1 - false_share)[found_share >= share - 1e-12].max() for share in SHARES]
        assert points[:, column] == pytest.approx(best, abs=1e-12)


def test_fixed_points_by_hand():
    # 10 negatives 0..9, positives 8.5, 5, 9.5: one false alarm is allowed at 0.90, none at 0.95
    score = np.array([*range(10), 8.5, 5, 9.5], float)
    positive = np.arange(13) >= 10
    points = fixed_points(ranking(rank_scores(score, positive, np.arange(13)), np.ones((13, 1))))[:, 0]
    assert dict(zip(FIXED, points, strict=True)) == pytest.approx(
        {
            "sensitivity_at_90_specificity": 2 / 3,
            "sensitivity_at_95_specificity": 1 / 3,
            "specificity_at_90_sensitivity": 5 / 10,  # all three are needed, and 5 ties with a negative
            "specificity_at_95_sensitivity": 5 / 10,
        }
    )


@pytest.mark.parametrize("positive", [np.ones(4, bool), np.zeros(4, bool)])
def test_one_side_alone_has_no_areas_and_no_points(positive):
    ranked = rank_scores(np.array([0.1, 0.2, 0.2, 0.4]), positive, np.arange(4))
    assert np.isnan(ranking_areas(ranked, np.ones((4, 2)))).all()
    assert np.isnan(fixed_points(ranking(ranked, np.ones((4, 2))))).all()


def test_a_ranking_of_some_patients_takes_weights_of_all():
    score, positive, patient = drawn(1)
    weights = np.random.default_rng(0).integers(0, 4, (30, 5)).astype(float)
    areas = ranking_areas(rank_scores(score, positive, patient), weights)
    assert (areas == ranking_areas(rank_scores(score, positive, patient), weights[:20])).all()
