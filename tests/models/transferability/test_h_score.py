import numpy as np
import pytest
import torch

from models.errors import ScoreInputError
from models.transferability.h_score import h_score, regularised_h_score


def made_up(n, width, classes, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    labels[:classes] = range(classes)
    features = rng.standard_normal((n, width)) * np.linspace(0.5, 3, width)
    features[:, 0] += labels
    return features, labels


def replaced_by_means(features, labels):
    means = np.empty_like(features)
    for label in np.unique(labels):
        means[labels == label] = features[labels == label].mean(axis=0)
    return means


def ledoit_wolf_by_definition(features):
    """Ledoit & Wolf 2004, section 3.3, with its mean of squared norms written out row by row."""
    n, width = features.shape
    x = features - features.mean(axis=0)
    s = x.T @ x / n
    m = np.trace(s) / width
    d2 = ((s - m * np.eye(width)) ** 2).sum() / width
    b2 = min(sum(((np.outer(row, row) - s) ** 2).sum() / width for row in x) / n**2, d2)
    return b2 / d2 * m * np.eye(width) + (1 - b2 / d2) * s, b2 / d2


@pytest.mark.parametrize("classes", [2, 4])
def test_it_is_the_trace_of_explicit_covariances(classes):
    features, labels = made_up(50, 6, classes)
    between = np.cov(replaced_by_means(features, labels), rowvar=False, bias=True)
    expected = np.trace(np.linalg.inv(np.cov(features, rowvar=False, bias=True)) @ between)
    found = h_score(torch.from_numpy(features), torch.eye(classes)[labels])
    assert found == pytest.approx(expected, rel=1e-9)


def test_one_feature_worked_by_hand():
    """f = 0, 2 | 4, 6: mean 3, variance 5; class means 1 and 5, their variance 4."""
    assert h_score(torch.tensor([[0.0], [2.0], [4.0], [6.0]]), torch.eye(2)[[0, 0, 1, 1]]) == pytest.approx(0.8)


def test_it_does_not_hang_on_the_features_scale_or_mixing():
    features, labels = made_up(40, 5, 3)
    mixing = np.random.default_rng(1).standard_normal((5, 5))
    targets = torch.eye(3)[labels]
    assert h_score(torch.from_numpy(features @ mixing + 7), targets) == pytest.approx(
        h_score(torch.from_numpy(features), targets), rel=1e-6
    )


def test_with_more_features_than_rows_the_plain_score_says_nothing():
    rng = np.random.default_rng(0)
    noise, targets = torch.from_numpy(rng.standard_normal((20, 100))), torch.eye(2)[[0, 1] * 10]
    assert h_score(noise, targets) == pytest.approx(1, abs=1e-9)
    assert regularised_h_score(noise, targets) < 0.6


@pytest.mark.parametrize(("n", "width"), [(50, 6), (15, 40)])
def test_the_regularised_score_by_ledoit_and_wolfs_own_formula(n, width):
    features, labels = made_up(n, width, 3)
    covariance, shrinkage = ledoit_wolf_by_definition(features)
    between = np.cov(replaced_by_means(features, labels), rowvar=False, bias=True)
    expected = (1 - shrinkage) * np.trace(np.linalg.inv(covariance) @ between)
    assert 0.01 < shrinkage < 1
    found = regularised_h_score(torch.from_numpy(features), torch.eye(3)[labels])
    assert found == pytest.approx(expected, rel=1e-9)


def test_features_that_do_not_vary_score_nothing():
    targets = torch.eye(2)[[0, 1] * 5]
    assert h_score(torch.ones(10, 3), targets) == 0
    assert regularised_h_score(torch.ones(10, 3), targets) == 0


def test_rows_that_only_mirror_each_other_need_no_shrinkage_and_still_have_a_score():
    """Every row is +a or -a, so Ledoit and Wolf add nothing to a covariance of rank one."""
    a = torch.tensor([1.0, 2.0, 3.0])
    assert regularised_h_score(torch.stack([a, a, -a, -a]), torch.eye(2)[[0, 0, 1, 1]]) == pytest.approx(1)


def test_several_labels_are_the_mean_over_labels():
    rng = np.random.default_rng(2)
    features = torch.from_numpy(rng.standard_normal((30, 4)))
    targets = torch.from_numpy((rng.random((30, 3)) < 0.4).astype(np.float32))
    for score in (h_score, regularised_h_score):
        each = [score(features, torch.eye(2)[targets[:, c].long()]) for c in range(3)]
        assert score(features, targets) == pytest.approx(np.mean(each))


def test_one_class_is_an_error():
    with pytest.raises(ScoreInputError):
        h_score(torch.randn(5, 3), torch.ones(5, 1))
