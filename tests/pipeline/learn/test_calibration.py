import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from pipeline.learn.calibration import fit_temperature, mean_nll


def drawn(temperature, *, n=20000, classes=4, seed=0):
    """Logits whose labels were drawn from softmax(logits / temperature)."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, classes, generator=generator)
    labels = torch.multinomial((logits / temperature).softmax(dim=1), 1, generator=generator)[:, 0]
    return logits, functional.one_hot(labels, classes)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5, 6.0])
def test_a_known_temperature_is_recovered(temperature):
    assert fit_temperature(*drawn(temperature), "multiclass") == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_a_known_temperature_of_several_labels_is_recovered(temperature):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20000, 3, generator=generator)
    targets = torch.bernoulli(torch.sigmoid(logits / temperature), generator=generator)
    assert fit_temperature(logits, targets, "multilabel") == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_a_grid_search_finds(seed):
    logits, targets = drawn(2.0, n=60, seed=seed)
    grid = np.exp(np.linspace(-3, 3, 6001))
    best = grid[np.argmin([mean_nll(logits, targets, "multiclass", float(t)) for t in grid])]
    assert fit_temperature(logits, targets, "multiclass") == pytest.approx(best, rel=2e-3)


def test_the_likelihood_worked_out_by_hand():
    """Logits 2 and 0 at T = 2: p = 1 / (1 + e^-1)."""
    logits, targets = torch.tensor([[2.0, 0.0]]), torch.tensor([[1, 0]], dtype=torch.int8)
    assert mean_nll(logits, targets, "multiclass", 2.0) == pytest.approx(math.log(1 + math.exp(-1)))
    expected = (math.log(1 + math.exp(-1)) + math.log(2)) / 2
    assert mean_nll(logits, targets, "multilabel", 2.0) == pytest.approx(expected)


def test_the_temperature_stays_within_its_bounds():
    sure = torch.tensor([[9.0, -9.0], [-9.0, 9.0]])
    right, wrong = torch.eye(2), torch.eye(2).flip(0)
    assert math.exp(-3) <= fit_temperature(sure, right, "multiclass") < 0.5
    assert 15 < fit_temperature(sure, wrong, "multiclass") <= math.exp(3)
