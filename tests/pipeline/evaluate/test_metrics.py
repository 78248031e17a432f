import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from pipeline.evaluate.metrics import count_cells, count_metrics, rank_scores, ranking_areas, sum_by_patient


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


@pytest.mark.parametrize("seed", range(5))
def test_count_metrics_equal_scikit_learn(seed):
    score, positive, patient = drawn(seed)
    called = score >= 0.5
    sums = sum_by_patient(count_cells(positive, called), patient, 20)
    sensitivity, specificity, ppv, npv, f1 = count_metrics(sums @ np.ones((20, 1)))[:, 0]
    assert sensitivity == pytest.approx(recall_score(positive, called))
    assert specificity == pytest.approx(recall_score(~positive, ~called))
    assert ppv == pytest.approx(precision_score(positive, called))
    assert npv == pytest.approx(precision_score(~positive, ~called))
    assert f1 == pytest.approx(f1_score(positive, called))


def test_nothing_over_nothing_is_not_a_number():
    tp, fp, tn, fn = 0.0, 0.0, 5.0, 0.0
    sensitivity, specificity, ppv, npv, f1 = count_metrics(np.array([[tp], [fp], [tn], [fn]]))[:, 0]
    assert np.isnan([sensitivity, ppv, f1]).all()
    assert (specificity, npv) == (1, 1)
