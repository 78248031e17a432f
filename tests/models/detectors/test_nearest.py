"""The nearest centre of each point, by hand and beside scipy."""

import pytest
import torch
from scipy.spatial.distance import cdist

from models.detectors.nearest import ROWS, Nearest


def test_by_hand():
    far, which = Nearest(torch.tensor([[3.0, 0.0], [0.0, 1.0]]))(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    assert far.tolist() == [1.0, 4.0]
    assert which.tolist() == [1, 0]


def test_exact_where_squares_would_cancel():
    points = torch.full((2, 3), 1000.0)
    points[1] += 0.001
    nearest = Nearest(points[:1])
    assert nearest(points[:1])[0].tolist() == [0.0]
    assert nearest(points[1:])[0].item() == pytest.approx((points[1] - points[0]).norm().item())


def test_beside_scipy_over_several_chunks():
    generator = torch.Generator().manual_seed(0)
    points, centres = torch.randn(ROWS + 7, 5, generator=generator), 3 + torch.randn(40, 5, generator=generator)
    far, which = Nearest(centres)(points)
    expected = cdist(points.double().numpy(), centres.double().numpy())
    assert which.tolist() == expected.argmin(axis=1).tolist()
    assert far.numpy() == pytest.approx(expected.min(axis=1), rel=1e-5)


def test_reduced_finds_one_that_is_nearly_as_near():
    generator = torch.Generator().manual_seed(0)
    points, centres = 2 + torch.rand(500, 64, generator=generator), 2 + torch.rand(300, 64, generator=generator)
    far, which = Nearest(centres, reduced=True)(points)
    assert far.dtype == torch.float32
    assert (far <= 1.02 * Nearest(centres)(points)[0]).all()
    torch.testing.assert_close(far, (points - centres[which]).norm(dim=1))
