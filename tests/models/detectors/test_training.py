import itertools

import pytest
import torch
from torch import nn

from models.detectors.detector import SliceBatch
from models.detectors.training import Schedule, batches_of, check_normals, train
from models.errors import DetectorError


class Counted:
    """Slices whose every pixel is their number, epoch after epoch in the same order."""

    def __init__(self, *sizes):
        self.sizes, self.epochs = sizes, []

    @property
    def slices(self):
        return sum(self.sizes)

    def __call__(self, epoch=None):
        self.epochs.append(epoch)
        numbers = torch.arange(self.slices)
        for part in numbers.split(list(self.sizes)):
            yield SliceBatch(part.view(-1, 1, 1, 1).float().expand(-1, 1, 2, 2), part)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(3.0))


def run(stream, loss_of, network, *, rate=0.1, steps=10, report=None):
    optimiser = torch.optim.SGD(network.parameters(), lr=rate)
    return train(network, loss_of, stream, optimiser=optimiser, schedule=Schedule(99, steps, 4), report=report)


def test_batches_have_one_size_and_no_slice_is_lost_between_epochs():
    stream = Counted(3, 1, 3)
    found = [batch[:, 0, 0, 0].tolist() for batch in itertools.islice(batches_of(stream, 4), 7)]
    assert list(itertools.chain(*found)) == [n % 7 for n in range(28)]
    assert {len(batch) for batch in found} == {4}
    assert stream.epochs == [0, 1, 2, 3]


def test_a_stream_that_gives_nothing_is_an_error_not_an_endless_loop():
    empty = Counted(2, 2)
    empty.sizes = ()
    with pytest.raises(DetectorError, match="epoch 1: no normal slices"):
        next(batches_of(empty, 2))


@pytest.mark.parametrize(
    ("slices", "expected"),
    [(1300, (400, 32)), (64, (200, 32)), (40, (125, 32)), (5, (100, 5))],
)
def test_training_ends_with_the_epochs_or_the_steps(slices, expected):
    assert Schedule(epochs=100, steps=400, batch=32).fit_to(slices) == expected


@pytest.mark.parametrize("wrong", [(0, 1, 2), (1, 0, 2), (1, 1, 1)])
def test_schedule_that_cannot_train_is_refused(wrong):
    with pytest.raises(DetectorError, match="at least 1 epoch"):
        Schedule(*wrong)


def test_curve_is_the_mean_loss_of_each_tenth_by_hand():
    network = Scale()
    told = []
    curve = run(Counted(4), lambda images: network.factor**2, network, steps=20, report=told.append)
    factors = [3.0 * 0.8**step for step in range(20)]  # df/dx = 2x, rate 0.1
    by_hand = [(factors[n] ** 2 + factors[n + 1] ** 2) / 2 for n in range(0, 20, 2)]
    assert curve == pytest.approx(by_hand)
    assert told[0] == "training step 2 of 20, loss 7.38"
    assert len(told) == 10


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_and_says_at_which_step(bad):
    network = Scale()
    values = iter([1.0, 1.0, bad])
    with pytest.raises(DetectorError, match="training step 3 of 10: loss is"):
        run(Counted(4), lambda images: network.factor * next(values), network)


def test_a_last_step_that_breaks_the_weights_is_seen():
    network = Scale()
    with pytest.raises(DetectorError, match="training step 1 of 1: a weight is not finite"):
        run(Counted(4), lambda images: 2e37 * network.factor**2, network, rate=10, steps=1)


def test_batch_norm_learns_and_dropout_stays_off():
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Conv2d(1, 1, 1))
    modes = []

    def loss_of(images):
        modes.append((network[0].training, network[1].training))
        return network(images).square().mean()

    before = torch.get_rng_state()
    run(Counted(4), loss_of, network, steps=2)
    assert modes == [(True, False)] * 2
    assert network[0].num_batches_tracked == 2
    assert not network[0].training
    assert torch.equal(before, torch.get_rng_state())


def test_slices_all_alike_and_single_slices_are_refused():
    alike = Counted(3, 3)
    same = [SliceBatch(torch.full((3, 1, 2, 2), 0.5), torch.arange(3))] * 2
    alike.__class__ = type("Alike", (Counted,), {"__call__": lambda self, epoch=None: iter(same)})
    with pytest.raises(DetectorError, match="6 normal slices, all alike"):
        check_normals(alike)
    with pytest.raises(DetectorError, match="1 normal slices: training needs at least 2"):
        check_normals(Counted(1))
    check_normals(Counted(1, 1))
