import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.preprocessing import StandardScaler

from models.detectors.shrinkage import StreamedMoments, ledoit_wolf, whitening
from models.errors import DetectorError


def rows(count, features, seed=0):
    """Correlated, skewed rows far from zero."""
    draw = np.random.default_rng(seed)
    return np.exp(draw.normal(size=(count, features)) @ draw.normal(size=(features, features)) / features) + 30


def moments(values):
    found = StreamedMoments.about(torch.tensor(values[:5]).mean(dim=0))
    for part in torch.tensor(values).split(9):
        found.add(part)
    return found


@pytest.mark.parametrize(("count", "features"), [(200, 6), (30, 40), (3, 5)])
def test_shrunk_covariance_agrees_with_scikit_learn(count, features):
    values = rows(count, features)
    covariance, shrinkage = ledoit_wolf(moments(values), torch.ones(features, dtype=torch.float64))
    oracle = LedoitWolf().fit(values)
    assert shrinkage == pytest.approx(oracle.shrinkage_, abs=1e-9)
    np.testing.assert_allclose(covariance.numpy(), oracle.covariance_, rtol=1e-8, atol=1e-10)
    whiten = whitening(covariance)
    np.testing.assert_allclose((whiten @ whiten.T).numpy(), oracle.precision_, rtol=1e-6)


def test_features_are_standardised_without_seeing_the_rows_again():
    values = rows(50, 20) * np.linspace(0.1, 10, 20)
    seen = moments(values)
    covariance, shrinkage = ledoit_wolf(seen, seen.covariance().diagonal().sqrt())
    oracle = LedoitWolf().fit(StandardScaler().fit_transform(values))
    assert shrinkage == pytest.approx(oracle.shrinkage_, abs=1e-9)
    np.testing.assert_allclose(covariance.numpy(), oracle.covariance_, atol=1e-9)


def test_mean_and_covariance_are_numpys():
    values = rows(40, 7)
    seen = moments(values)
    np.testing.assert_allclose(seen.mean().numpy(), values.mean(axis=0))
    np.testing.assert_allclose(seen.covariance().numpy(), np.cov(values.T, bias=True), atol=1e-12)


def test_a_covariance_without_inverse_is_refused():
    with pytest.raises(DetectorError, match="has no inverse"):
        whitening(torch.zeros(3, 3))


def test_rows_that_are_all_alike_have_no_shrinkage_and_no_covariance():
    covariance, shrinkage = ledoit_wolf(moments(np.ones((8, 3))), torch.ones(3, dtype=torch.float64))
    assert shrinkage == 0
    assert float(covariance.abs().max()) == 0
