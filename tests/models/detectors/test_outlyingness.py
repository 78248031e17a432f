import torch
from sklearn.neighbors import NearestNeighbors

from models.detectors.outlyingness import outlyingness


def among(points, owner, **settings):
    return outlyingness(points, owner, points, owner, **settings)


def test_by_hand():
    """Points 0, 1, 3 and 10 on a line, each of its own owner."""
    points, owner = torch.tensor([[0.0], [1.0], [3.0], [10.0]]), torch.arange(4)
    torch.testing.assert_close(among(points, owner, k=2), torch.tensor([2.0, 1.5, 2.5, 8.0]))


def test_points_of_one_owner_do_not_vouch_for_each_other():
    points = torch.tensor([[0.0], [1.0], [9.0], [9.0], [9.0]])
    found = among(points, torch.tensor([0, 1, 2, 2, 2]), k=2)
    torch.testing.assert_close(found, torch.tensor([5.0, 4.5, 8.5, 8.5, 8.5]))


def test_fewer_others_than_neighbours_are_taken_as_they_are():
    points = torch.tensor([[0.0], [1.0], [4.0]])
    torch.testing.assert_close(among(points, torch.arange(3), k=10), torch.tensor([2.5, 2.0, 3.5]))
    assert among(points, torch.zeros(3, dtype=torch.int64)).tolist() == [0, 0, 0]
    assert among(points[:0], torch.zeros(0, dtype=torch.int64)).tolist() == []


def test_it_agrees_with_scikit_learn_beyond_one_block():
    points = torch.randn(1500, 5, generator=torch.Generator().manual_seed(0)) + 50
    expected = NearestNeighbors(n_neighbors=11).fit(points.numpy()).kneighbors(points.numpy())[0][:, 1:].mean(axis=1)
    found = among(points, torch.arange(1500))
    torch.testing.assert_close(found, torch.from_numpy(expected).float(), rtol=1e-3, atol=1e-3)


def test_points_outside_the_bank_are_compared_with_it():
    bank, owner = torch.tensor([[0.0], [2.0], [5.0]]), torch.tensor([7, 8, 9])
    found = outlyingness(torch.tensor([[1.0], [1.0]]), torch.tensor([0, 8]), bank, owner, k=2)
    torch.testing.assert_close(found, torch.tensor([1.0, 2.5]))
