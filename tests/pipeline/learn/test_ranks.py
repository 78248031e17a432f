"""Shares and sums of ranks; what two processes make of them together is in tests/flows/test_train_ddp.py."""

from itertools import chain

import pytest
import torch
from torch import distributed

from models.strategies.phase import Phase
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.learn import ranks as module
from pipeline.learn.ranks import Ranks, check_ranks, current_ranks

PLAIN = Config(classes=("normal", "opacity"), backbone="resnet18", strategy="lp_ft")
TWO = Ranks(0, 2)


def test_one_process_is_alone():
    assert current_ranks() == Ranks(0, 1)
    assert current_ranks().first
    parameter = torch.nn.Parameter(torch.ones(2))
    assert Ranks().add_gradients([parameter], 0.1) == 0.1
    assert parameter.grad is None
    assert Ranks().agree((1.5, 2)) == [1.5, 2]
    rows = torch.rand(3, 2)
    assert Ranks().gather(rows, 3) is rows


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("rows", [0, 1, 2, 7, 16])
def test_shares_are_disjoint_whole_and_even(rows, count):
    shares = [list(range(rows))[Ranks(rank, count).share(rows)] for rank in range(count)]
    assert list(chain(*shares)) == list(range(rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert sorted(chain(*(Ranks(rank, count).every(range(rows)) for rank in range(count)))) == list(range(rows))


@pytest.fixture
def other(monkeypatch):
    """Stands for the second rank: what it adds to the first one's buffer."""

    def add(*numbers):
        monkeypatch.setattr(distributed, "all_reduce", lambda buffer: buffer.add_(torch.tensor(numbers)))

    return add


def test_gradients_of_two_ranks_are_added(other):
    """By hand: loss 1 + 2; gradients (1, 2) + (10, 20); the second parameter has one at the other rank alone."""
    first, second, third = (torch.nn.Parameter(torch.zeros(n)) for n in (2, 1, 1))
    first.grad = torch.tensor([1.0, 2.0])
    other(2.0, 1.0, 1.0, 0.0, 10.0, 20.0, 5.0, 0.0)
    assert TWO.add_gradients([first, second, third], 1.0) == 3.0
    assert first.grad.tolist() == [11.0, 22.0]
    assert second.grad.tolist() == [5.0]
    assert third.grad is None


def test_a_loss_that_is_not_a_number_anywhere_is_none_everywhere(other):
    parameter = torch.nn.Parameter(torch.zeros(1))
    other(float("nan"), 1.0, 0.0)
    assert torch.tensor(TWO.add_gradients([parameter], 1.0)).isnan()


def test_rows_of_all_ranks_come_in_order(other, monkeypatch):
    monkeypatch.setattr(module, "_exchange_device", lambda: torch.device("cpu"))
    other((0.0,), (0.0,), (3.0,))
    assert Ranks(0, 2).share(3) == slice(0, 1)
    other((0.0,), (2.0,), (3.0,))
    assert TWO.gather(torch.tensor([[1.0]]), 3).tolist() == [[1.0], [2.0], [3.0]]


@pytest.mark.parametrize(
    ("change", "phase", "said"),
    [
        ({"task": "one_class"}, {}, "task one_class has no training loop to share"),
        ({"strategy": "auto"}, {}, "strategy auto decides by the clock"),
        ({"backbone": "auto"}, {}, "backbone auto decides by the clock"),
        ({"align": "coral"}, {}, "align=coral compares whole batches"),
        ({}, {"objective": "self_supervised"}, "compares whole batches"),
        ({}, {"batch_norm": "train"}, "batch-norm statistics of whole batches"),
        ({}, {"batch_norm": "stochastic"}, "batch-norm statistics of whole batches"),
    ],
)
def test_what_one_process_must_train_is_refused(change, phase, said):
    config, phases = PLAIN.model_copy(update=change), [Phase("x", (), **phase)]
    with pytest.raises(ConfigError, match=said):
        check_ranks(config, phases, TWO)
    check_ranks(config, phases, Ranks())


def test_other_strategies_may_be_shared():
    check_ranks(PLAIN, [Phase("probe", (), cached=True), Phase("x", (), anchor=0.1), Phase("s", (), merge="soup")], TWO)
