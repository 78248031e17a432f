import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from pipeline.evaluate.metrics import count_cells, count_metrics, sum_by_patient


def drawn(seed, n=60, patients=20, levels=7):
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, n)
    return rng.integers(0, levels, n) / levels, rng.random(n) < 0.4, patient


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
