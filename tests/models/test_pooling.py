import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.pooling import AttentionPooling, MeanPooling

ALL = torch.tensor([[True, True]])


def attention(features, seed=0):
    torch.manual_seed(seed)
    return AttentionPooling(features, hidden=5)


def test_mean_pooling_counts_only_the_slices_that_are_there():
    features = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [100.0, 100.0]], [[5.0, 5.0], [7.0, 7.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    torch.testing.assert_close(MeanPooling()(features, mask), torch.tensor([[2.0, 4.0], [7.0, 7.0]]))


def test_attention_worked_out_by_hand():
    """F = 1, one hidden unit, V = U = 1, w = 2: scores 2 tanh(h) sigmoid(h)."""
    pooling = AttentionPooling(1, hidden=1)
    for layer, weight in ((pooling.tanh, 1.0), (pooling.gate, 1.0), (pooling.score, 2.0)):
        torch.nn.init.constant_(layer.weight, weight)
        torch.nn.init.zeros_(layer.bias)

    def score(h):
        return 2 * math.tanh(h) / (1 + math.exp(-h))

    first, second = math.exp(score(1.0)), math.exp(score(-0.5))
    expected = (first * 1.0 + second * -0.5) / (first + second)
    found = pooling(torch.tensor([[[1.0], [-0.5]]]), ALL)
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_masked_slices_have_no_weight_and_the_rest_sum_to_one():
    features = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[True] * 4, [True, False, True, False], [False, False, False, True]])
    weights = attention(6).weights(features, mask)
    assert (weights[~mask] == 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))
    assert weights[2, 3].item() == 1.0


@pytest.mark.parametrize("pooling", [MeanPooling(), attention(6)])
def test_a_bag_of_one_is_its_slice(pooling):
    features = torch.randn(2, 1, 6, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(pooling(features, torch.ones(2, 1, dtype=torch.bool)), features[:, 0])


@pytest.mark.parametrize("pooling", [MeanPooling(), attention(4, seed=3)])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_order_of_slices_and_padding_do_not_matter(pooling, data):
    count = data.draw(st.integers(1, 6))
    padding = data.draw(st.integers(0, 3))
    order = data.draw(st.permutations(range(count + padding)))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    features = torch.randn(1, count, 4, generator=generator)
    plain = pooling(features, torch.ones(1, count, dtype=torch.bool))
    padded = torch.cat([features, 1e3 * torch.randn(1, padding, 4, generator=generator)], dim=1)
    mask = torch.tensor([[n < count for n in range(count + padding)]])
    torch.testing.assert_close(pooling(padded[:, order], mask[:, order]), plain, rtol=1e-4, atol=1e-5)


def test_attention_learns_which_slice_matters():
    """Gradient reaches all three layers, and following it lowers the loss."""
    pooling = attention(3)
    features = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    optimizer = torch.optim.SGD(pooling.parameters(), lr=1.0)
    before = pooling.weights(features, ALL)[0, 0].item()
    for _ in range(20):
        optimizer.zero_grad()
        (1 - pooling(features, ALL)[0, 0]).backward()
        assert all(p.grad is not None for p in (pooling.tanh.weight, pooling.gate.weight, pooling.score.weight))
        optimizer.step()
    assert pooling.weights(features, ALL)[0, 0].item() > before + 0.1
