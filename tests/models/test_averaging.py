import torch

from models.averaging import interpolate

FIRST = {"w": torch.tensor([0.0, 4.0]), "mean": torch.tensor([1.0]), "count": torch.tensor(3)}
SECOND = {"w": torch.tensor([1.0, 8.0]), "mean": torch.tensor([2.0]), "count": torch.tensor(7)}


def test_the_average_by_hand():
    """0.75 of the way: 0.25 (0, 4) + 0.75 (1, 8) = (0.75, 7)."""
    found = interpolate(FIRST, SECOND, 0.75, {"w"})
    assert found["w"].tolist() == [0.75, 7.0]


def test_statistics_and_counters_are_the_seconds():
    found = interpolate(FIRST, SECOND, 0.5, {"w"})
    assert found["mean"].tolist() == [2.0]
    assert found["count"].item() == 7
    assert found["count"].dtype == torch.int64


def test_the_ends_are_the_ends_and_equal_weights_stay_bit_for_bit():
    assert torch.equal(interpolate(FIRST, SECOND, 0.0, {"w"})["w"], FIRST["w"])
    assert torch.equal(interpolate(FIRST, SECOND, 1.0, {"w"})["w"], SECOND["w"])
    value = {"w": torch.rand(1000, generator=torch.Generator().manual_seed(0))}
    assert torch.equal(interpolate(value, value, 0.3, {"w"})["w"], value["w"])


def test_the_average_shares_no_memory_with_its_parents():
    first, second = ({key: value.clone() for key, value in side.items()} for side in (FIRST, SECOND))
    found = interpolate(first, second, 0.5, {"w"})
    for value in found.values():
        value.zero_()
    assert second["w"].tolist() == [1.0, 8.0]
    assert second["mean"].tolist() == [2.0]


def test_a_running_mean_of_three_networks_is_their_plain_average():
    """Soup: the second joins with 1/2, the third with 1/3."""
    states = [{"w": torch.tensor([float(n)])} for n in (3, 6, 12)]
    soup = interpolate(states[0], states[1], 1 / 2, {"w"})
    soup = interpolate(soup, states[2], 1 / 3, {"w"})
    torch.testing.assert_close(soup["w"], torch.tensor([7.0]))
