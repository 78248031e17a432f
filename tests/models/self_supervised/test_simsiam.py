"""The objective by hand, where gradients go, and what spread measures."""

import math

import numpy as np
import pytest
import torch

from models.self_supervised.simsiam import SimSiam, negative_cosine, simsiam_loss, spread


def test_the_loss_worked_out_by_hand():
    """Cosines 0.6 (p1, z2), -1 (p1', z2'), 0 and 1 (p2, z1): -(0.6 - 1)/2/2 - (0 + 1)/2/2 = -0.15."""
    p1, z2 = torch.tensor([[3.0, 4.0], [2.0, 0.0]]), torch.tensor([[2.0, 0.0], [-5.0, 0.0]])
    p2, z1 = torch.tensor([[0.0, 1.0], [1.0, 1.0]]), torch.tensor([[7.0, 0.0], [2.0, 2.0]])
    assert negative_cosine(p1, z2).item() == pytest.approx(0.2)
    assert negative_cosine(p2, z1).item() == pytest.approx(-0.5)
    assert simsiam_loss((z1, p1), (z2, p2)).item() == pytest.approx(-0.15)


def test_the_loss_is_numpys():
    rng = np.random.default_rng(0)
    z1, p1, z2, p2 = rng.normal(size=(4, 6, 5))
    pairs = [(p1, z2), (p2, z1)]
    cosines = [[p @ z / math.sqrt((p @ p) * (z @ z)) for p, z in zip(ps, zs, strict=True)] for ps, zs in pairs]
    found = simsiam_loss(
        (torch.tensor(z1), torch.tensor(p1)),
        (torch.tensor(z2), torch.tensor(p2)),
    )
    assert found.item() == pytest.approx(-np.mean(cosines))


def test_no_gradient_flows_into_the_projections_that_are_predicted():
    z, p = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    negative_cosine(p, z).backward()
    assert z.grad is None
    assert p.grad.abs().sum() > 0


def test_equal_views_that_predict_themselves_have_the_least_loss():
    z = torch.randn(4, 3)
    assert simsiam_loss((z, 2 * z), (z, 3 * z)).item() == pytest.approx(-1)
    assert simsiam_loss((z, -z), (z, -z)).item() == pytest.approx(1)


def test_shapes_seed_and_global_generator():
    before = torch.get_rng_state()
    one, same, other = SimSiam(20, seed=1), SimSiam(20, seed=1), SimSiam(20, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    features = torch.randn(6, 20)
    projections, predictions = one(features)
    assert projections.shape == predictions.shape == (6, 512)
    assert torch.equal(one(features)[1], same(features)[1])
    assert not torch.equal(one(features)[1], other(features)[1])


def test_projections_are_standardised_over_the_batch():
    """Batch norm without scale and shift at the projector's end, as in the paper."""
    projections, _ = SimSiam(20)(torch.randn(64, 20))
    torch.testing.assert_close(projections.mean(dim=0), torch.zeros(512), atol=1e-4, rtol=0)
    assert projections.std(dim=0, correction=0).median().item() == pytest.approx(1, abs=0.01)


def test_spread_of_even_directions_is_one_and_of_one_direction_nought():
    generator = torch.Generator().manual_seed(0)
    even = torch.randn(4000, 64, generator=generator)
    assert spread(even).item() == pytest.approx(1, abs=0.03)
    assert spread(even * torch.rand(4000, 1, generator=generator)).item() == pytest.approx(1, abs=0.03)
    line = torch.randn(1, 64, generator=generator) * (0.5 + torch.rand(50, 1, generator=generator))
    assert spread(line).item() == pytest.approx(0, abs=1e-5)
    assert 0.05 < spread(line + 0.1 * even[:50]).item() < 0.7


def test_spread_worked_out_by_hand():
    """Directions (1, 0) and (0, 1): each column has standard deviation 1/2, times sqrt 2."""
    assert spread(torch.tensor([[5.0, 0.0], [0.0, 0.1]])).item() == pytest.approx(math.sqrt(2) / 2)
