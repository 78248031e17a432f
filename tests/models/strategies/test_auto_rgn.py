import pytest
import torch
from torch import nn

from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from models.strategies.auto_rgn import auto_rgn, rate_factors, relative_gradients


def tensor(values, gradient):
    made = nn.Parameter(torch.tensor(values))
    made.grad = torch.tensor(gradient)
    return made


def test_relative_gradients_by_hand():
    """||(3, 4)|| / ||(6, 8)|| = 5 / 10; ||(0, 1)|| / ||(0, 5)|| = 0.2."""
    found = relative_gradients([tensor([6.0, 8.0], [3.0, 4.0]), tensor([0.0, 5.0], [0.0, 1.0])])
    assert found.tolist() == pytest.approx([0.5, 0.2])


def test_a_bias_of_zero_is_measured_against_the_floor_and_no_gradient_is_zero():
    """Four zeros: the floor is 0.001 sqrt(4) = 0.002, ||g|| = 0.006."""
    silent = nn.Parameter(torch.ones(2))
    found = relative_gradients([tensor([0.0] * 4, [0.003] * 4), silent])
    assert found.tolist() == pytest.approx([3.0, 0.0])
    assert relative_gradients([tensor([0.0], [0.0])]).tolist() == [0.0]


def test_factors_are_means_divided_by_the_largest():
    """Means of two batches (1, 4, 0) and (3, 4, 0) are (2, 4, 0)."""
    found = rate_factors([torch.tensor([1.0, 4.0, 0.0]), torch.tensor([3.0, 4.0, 0.0])])
    assert found.tolist() == [0.5, 1.0, 0.0]
    assert rate_factors([torch.zeros(2)]).tolist() == [0.0, 0.0]


def test_it_comes_after_the_probe_and_its_rates_are_relative():
    *probe, last = auto_rgn(SliceBagClassifier(build_backbone("shufflenet_v2_x0_5"), 2, pooling="mean"))
    assert all(phase.cached for phase in probe)
    assert last.rates_by == "relative_gradient"
    assert last.rates == {}
