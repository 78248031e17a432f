from dataclasses import replace

import numpy as np
import pytest

from pipeline.shift.accuracy import ExpectedAccuracy
from pipeline.shift.labels_needed import labels_needed
from pipeline.shift.learning_curve import learning_curve
from pipeline.shift.number import Number
from pipeline.shift.sample_size import (
    effective_dimension,
    for_accuracy,
    for_auroc,
    for_learning,
    from_learning_curve,
    hanley_mcneil,
    wilson_half_width,
)


def test_wilson_half_width_agrees_with_its_two_limits():
    # The limits solve (p - q)^2 = z^2 q (1 - q) / n.
    p, n, z = 0.8, 50, 1.959964
    limits = np.roots([1 + z**2 / n, -2 * p - z**2 / n, p**2])
    assert wilson_half_width(p, n) == pytest.approx((limits.max() - limits.min()) / 2, rel=1e-5)


def test_standard_error_is_the_published_example():
    # A = 0.8, 10 of each: Q1 = 2/3, Q2 = 0.7111; (0.16 + 9 (0.02667) + 9 (0.07111)) / 100 = 0.0104.
    assert hanley_mcneil(0.8, 10, 10) == pytest.approx(0.0104**0.5, rel=1e-3)


def test_the_number_of_labels_is_the_smallest_that_does():
    n = for_accuracy(0.05, expected=0.9).labels
    assert wilson_half_width(0.9, n) <= 0.05 < wilson_half_width(0.9, n - 1)
    n = for_auroc(0.05, expected=0.8, positive_share=0.2).labels
    assert 1.96 * hanley_mcneil(0.8, 0.2 * n, 0.8 * n) <= 0.05001
    assert 1.96 * hanley_mcneil(0.8, 0.2 * (n - 1), 0.8 * (n - 1)) > 0.05


def test_a_rare_finding_needs_more_labels():
    rare, common = (for_auroc(0.05, expected=0.8, positive_share=share).labels for share in (0.05, 0.5))
    assert rare > 3 * common


def test_an_impossible_wish_has_no_number():
    assert for_accuracy(1e-6, expected=0.5).labels is None


@pytest.mark.parametrize("n", [25, 100, 1000])
def test_effective_dimension_does_not_depend_on_the_number_of_scans(n):
    variances = 1 / np.arange(1, 61)
    expected = variances.sum() ** 2 / (variances**2).sum()
    rng = np.random.default_rng(0)
    found = [effective_dimension(rng.normal(size=(n, 60)) * variances**0.5) for _ in range(20)]
    assert np.mean(found) == pytest.approx(expected, rel=0.1)


def test_features_along_one_line_have_one_dimension():
    line = np.random.default_rng(0).normal(size=(50, 1)) @ np.ones((1, 8))
    assert effective_dimension(line) == pytest.approx(1, abs=0.05)
    assert for_learning(line, classes=3).labels in (30, 33)


def test_a_learning_curve_that_follows_the_law_is_found_again():
    sizes = [20, 40, 80, 160, 320]
    found = from_learning_curve(sizes, [0.05 + 2 * n**-0.8 for n in sizes], wanted_loss=0.01)
    assert found.labels == pytest.approx((2 / 0.01) ** (1 / 0.8), rel=0.02)


def test_a_learning_curve_says_why_it_cannot_be_used():
    assert "at least 4" in from_learning_curve([20, 40], [0.2, 0.1]).reason
    assert "does not fall" in from_learning_curve([1, 2, 3, 4], [0.1, 0.1, 0.1, 0.2]).reason


def test_the_error_falls_along_the_curve_of_scans_with_labels(side):
    one = side(300, width=80)
    sizes, errors = learning_curve(one.features, one.truth, one.units, seed=0)
    assert sizes[0] == 20
    assert sizes[-1] == 240
    assert errors[-1] < errors[0]
    assert errors[-1] < 0.2


def test_a_class_of_few_patients_has_no_curve(side):
    one = side(300, share=0.01)
    assert learning_curve(one.features, one.truth, one.units, seed=0) == ([], [])


def test_three_purposes_and_an_estimate_where_one_may_be_given(side):
    one = replace(side(100), truth=None)
    number = Number(0.95, 0.9, 0.99)
    given = ExpectedAccuracy(True, "", number, number, number, number)
    known, unknown = (labels_needed(one, classes=2, accuracy=a, seed=0) for a in (given, None))
    assert [n.purpose for n in known] == ["accuracy_interval", "auroc_interval", "learning"]
    assert known[0].labels < unknown[0].labels
    assert "rule of thumb" in unknown[2].reason
    assert "learning curve" in labels_needed(side(300, width=80), classes=2, accuracy=None, seed=0)[2].reason


def test_a_handful_of_scans_says_nothing_about_learning(side):
    found = labels_needed(replace(side(100), truth=None).take(range(10)), classes=2, accuracy=None, seed=0)
    assert found[2].labels is None
