import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.detectors.pooling import top_k_mean
from models.errors import DetectorError


def test_mean_of_the_highest_tenth_worked_out_by_hand():
    scores = torch.tensor([0.0, 9.0, 1.0, 2.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert top_k_mean(scores) == 7.0  # ceil(1.1) = 2 slices: 9 and 5


@pytest.mark.parametrize(("slices", "kept"), [(1, 1), (10, 1), (11, 2), (30, 3), (31, 4)])
def test_ceil_is_not_fooled_by_rounding(slices, kept):
    """0.1 * 30 is a little more than 3 in floating point."""
    scores = torch.arange(slices).float()
    assert top_k_mean(scores) == pytest.approx(sum(range(slices - kept, slices)) / kept)


def test_a_share_of_one_is_the_mean():
    assert top_k_mean(torch.tensor([1.0, 2.0, 6.0]), 1.0) == 3.0


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=40), st.floats(0.01, 1), st.randoms())
def test_order_does_not_matter_and_the_value_is_between_mean_and_highest(values, share, chance):
    scores = torch.tensor(values)
    found = top_k_mean(scores, share)
    chance.shuffle(values)
    assert top_k_mean(torch.tensor(values), share) == pytest.approx(found)
    assert float(scores.double().mean()) - 1e-6 <= found <= float(scores.max()) + 1e-6


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(DetectorError, match="share of slices"):
        top_k_mean(torch.ones(3), share)


@pytest.mark.parametrize("scores", [torch.empty(0), torch.ones(2, 2), torch.tensor([1.0, float("nan")])])
def test_missing_or_broken_scores_are_refused(scores):
    with pytest.raises(DetectorError, match="one finite number per slice"):
        top_k_mean(scores)
