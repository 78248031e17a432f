import numpy as np
import pytest

from pipeline.errors import CohortError
from pipeline.evaluate.thresholds import class_thresholds, threshold_at_sensitivity

SCORE = np.array([0.9, 0.8, 0.7, 0.4, 0.2, 0.95])
POSITIVE = np.array([True, True, True, True, True, False])


@pytest.mark.parametrize(
    ("target", "expected"),
    [(0.2, 0.9), (0.21, 0.8), (0.4, 0.8), (0.6, 0.7), (0.8, 0.4), (0.81, 0.2), (1.0, 0.2), (0.01, 0.9)],
)
def test_threshold_is_the_largest_that_finds_the_target_share(target, expected):
    assert threshold_at_sensitivity(SCORE, POSITIVE, target) == expected


def test_tied_positives_are_found_together():
    assert threshold_at_sensitivity(np.array([0.5, 0.5, 0.1]), np.ones(3, bool), 0.34) == 0.5


def test_target_of_nineteen_in_twenty_leaves_out_one():
    score = np.arange(1, 21) / 20
    assert threshold_at_sensitivity(score, np.ones(20, bool), 0.95) == score[1]


@pytest.mark.parametrize(("positive", "target"), [(np.zeros(6, bool), 0.9), (POSITIVE, 0.0), (POSITIVE, 1.1)])
def test_no_positives_or_a_target_out_of_range_is_refused(positive, target):
    with pytest.raises(CohortError):
        threshold_at_sensitivity(SCORE, positive, target)


def test_each_class_is_cut_where_the_share_of_its_own_scans_is_found():
    probability = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]])
    truth = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.int8)
    assert class_thresholds(("a", "b"), probability, truth, 0.5) == {"a": 0.9, "b": 0.8}
    assert class_thresholds(("a", "b"), probability, truth, 1.0) == {"a": 0.6, "b": 0.7}


def test_a_class_without_a_scan_has_no_threshold():
    with pytest.raises(CohortError, match="no positive rows"):
        class_thresholds(("a", "b"), np.ones((2, 2)), np.array([[1, 0], [1, 0]], np.int8), 0.5)
