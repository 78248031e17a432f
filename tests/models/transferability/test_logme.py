import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from models.errors import ScoreInputError
from models.transferability.logme import logme


def largest_evidence(features, y):
    """The evidence of y ~ N(0, I/b + F F'/a), maximised over log a and log b from several starts."""

    def negative(logs):
        a, b = np.exp(np.clip(logs, -30, 30))
        covariance = np.eye(len(y)) / b + features @ features.T / a
        return -multivariate_normal(np.zeros(len(y)), covariance, allow_singular=True).logpdf(y)

    starts = [(0.0, 0.0), (3.0, 0.0), (0.0, 3.0), (-3.0, 2.0)]
    best = min(minimize(negative, start, method="Nelder-Mead", options={"fatol": 1e-10}).fun for start in starts)
    return -best / len(y)


def planted(n, width, classes, *, signal, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    features = rng.standard_normal((n, width)) + 0.5
    features[:, :classes] += signal * np.eye(classes)[labels]
    return features, np.eye(classes)[labels]


@pytest.mark.parametrize(("n", "width", "classes"), [(40, 5, 2), (30, 12, 3), (25, 60, 2)])
def test_it_is_the_evidence_at_its_maximum(n, width, classes):
    features, targets = planted(n, width, classes, signal=1.5, seed=n)
    expected = np.mean([largest_evidence(features, targets[:, c]) for c in range(classes)])
    assert logme(torch.from_numpy(features), torch.from_numpy(targets)) == pytest.approx(expected, abs=2e-5)


def test_one_feature_worked_by_hand():
    """F = y = (1, 1, 0, 0)': s = 2, z^2 = 2; the fit is exact, so the floor of the residual ends the iteration."""
    features = torch.tensor([[1.0], [1.0], [0.0], [0.0]])
    targets = torch.tensor([[1.0], [1.0], [0.0], [0.0]])
    # g -> 1, m -> 1, so a = 1 and b = (4 - 1) / (1e-10 * 2)
    b = 3 / 2e-10
    by_hand = (4 * math.log(b) + 0 - 4 * math.log(2 * math.pi) - 3 - 1 - math.log(1 + 2 * b)) / 8
    assert logme(features, targets) == pytest.approx(by_hand, rel=1e-6)


def test_features_that_say_nothing_have_the_evidence_of_noise_alone():
    targets = torch.tensor([[1.0], [0.0], [1.0], [0.0]])
    orthogonal = torch.tensor([[1.0], [0.0], [-1.0], [0.0]])
    # y ~ N(0, I/b): (log b - log 2 pi - b |y|^2 / n) / 2 at b = n / |y|^2 = 2
    expected = (math.log(2) - math.log(2 * math.pi) - 1) / 2
    assert logme(orthogonal, targets) == pytest.approx(expected)
    assert logme(torch.zeros(4, 3), targets) == pytest.approx(expected)


def test_more_signal_scores_higher():
    scores = [
        logme(*(torch.from_numpy(part) for part in planted(60, 10, 2, signal=signal, seed=3)))
        for signal in (0.0, 1.0, 3.0)
    ]
    assert scores == sorted(scores)
    assert scores[2] > scores[0] + 0.1


def test_rotated_features_score_the_same():
    features, targets = planted(30, 8, 2, signal=1.0, seed=5)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))[0]
    plain, turned = (
        logme(torch.from_numpy(part), torch.from_numpy(targets)) for part in (features, features @ rotation)
    )
    assert plain == pytest.approx(turned, abs=1e-8)


def test_scaled_features_score_the_same():
    features, targets = (torch.from_numpy(part) for part in planted(30, 8, 2, signal=1.0, seed=5))
    for scale in (1e-4, 1e4):
        assert logme(features * scale, targets) == pytest.approx(logme(features, targets), abs=1e-6)


def test_the_same_image_twice_does_not_send_it_to_infinity():
    """With more features than rows, equal rows leave noise that is never seen, and the evidence has no bound."""
    for seed in range(6):
        features, targets = (torch.from_numpy(part) for part in planted(40, 100, 2, signal=2.0, seed=seed))
        features[:, :20] *= 100  # so that from a = b = 1 nearly everything would be signal
        plain = logme(features, targets)
        features[2] = features[0]
        assert logme(features, targets) == pytest.approx(plain, abs=0.1)


def test_a_label_that_no_row_has_is_left_out():
    features, targets = (torch.from_numpy(part) for part in planted(30, 6, 2, signal=1.0, seed=1))
    wider = torch.cat([targets, torch.zeros(30, 1)], dim=1)
    assert logme(features, wider) == logme(features, targets)


def test_one_class_is_an_error():
    with pytest.raises(ScoreInputError, match="no label divides the rows"):
        logme(torch.randn(5, 3), torch.tensor([[1.0, 0.0]] * 5))


def test_values_that_are_not_finite_are_an_error():
    with pytest.raises(ScoreInputError, match="not finite"):
        logme(torch.full((4, 2), torch.nan), torch.eye(2).repeat(2, 1))


def test_shapes_that_do_not_fit_are_an_error():
    with pytest.raises(ScoreInputError, match=r"matrix \(5, 3\) and targets \(4, 2\)"):
        logme(torch.randn(5, 3), torch.eye(2).repeat(2, 1))
