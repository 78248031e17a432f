import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from pipeline.evaluate.reliability import brier_by_row, claims, gaps_by_row, reliability_curve


def slow_ece(confidence, right):
    total = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


def ece(stated):
    return np.abs(gaps_by_row(stated).sum(axis=0)).sum() / len(stated.confidence)


@pytest.mark.parametrize("seed", range(4))
def test_ece_equals_a_loop_over_bins(table, seed):
    t = table(seed=seed)
    top, right = t.uncalibrated.max(axis=1), t.uncalibrated.argmax(axis=1) == t.truth.argmax(axis=1)
    assert ece(claims(t, t.uncalibrated)) == pytest.approx(slow_ece(top, right))


def test_ece_by_hand(table):
    # two claims at 0.9, one right: |0.5 - 0.9| = 0.4, both rows in one bin
    t = table(2, ("a", "b"), probability=np.array([[0.9, 0.1], [0.9, 0.1]]))
    assert ece(claims(t, t.probability)) == pytest.approx(0.4)
    assert reliability_curve(claims(t, t.probability)) == [{"confidence": 0.9, "accuracy": 0.5, "n": 2}]


def test_multilabel_ece_pools_all_classes(table):
    t = table(task="multilabel")
    assert ece(claims(t, t.probability)) == pytest.approx(slow_ece(t.probability.ravel(), t.truth.ravel()))


def test_brier_is_the_sum_over_classes_and_for_several_labels_the_mean(table):
    t, several = table(), table(task="multilabel")
    each = [brier_score_loss(t.truth[:, c], t.probability[:, c]) for c in range(3)]
    assert brier_by_row(t, t.probability).mean() == pytest.approx(sum(each))
    assert brier_by_row(several, t.probability).mean() == pytest.approx(sum(each) / 3)
