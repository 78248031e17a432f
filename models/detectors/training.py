"""The training loop that detectors with a network of their own share: batches of one size, and no bad step unseen."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.detectors.detector import Normals, Report
from models.errors import DetectorError

POINTS = 10


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long a network is trained: whichever of epochs and steps ends first.

    Attributes:
        epochs: Times that every slice is seen, at most.
        steps: Steps of the optimiser, at most; keeps training within minutes whatever the number of slices.
        batch: Slices in a step, B.
    """

    epochs: int
    steps: int
    batch: int

    def __post_init__(self) -> None:
        if min(self.epochs, self.steps) < 1 or self.batch < 2:
            raise DetectorError(f"training for {self}: expected at least 1 epoch, 1 step and 2 slices a batch")

    def fit_to(self, slices: int) -> tuple[int, int]:
        """Steps in all, and slices in each, for a number of slices."""
        batch = min(self.batch, slices)
        return min(self.steps, -(-self.epochs * slices // batch)), batch


def train(
    network: nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    normals: Normals,
    *,
    optimiser: torch.optim.Optimizer,
    schedule: Schedule,
    report: Report | None = None,
) -> tuple[float, ...]:
    """Train a network in place; nothing here draws random numbers, only the order of the slices is shuffled.

    Args:
        network: Left in evaluation mode.
        loss_of: Mean loss of slices (B, C, S, S), a scalar.
        optimiser: Of the network's parameters.
        report: Told of the loss ten times.

    Returns:
        The loss curve: means over tenths of the steps, at most ten numbers.

    Raises:
        DetectorError: If the slices are too few or all alike, or a loss or weight is not finite.
    """
    check_normals(normals)
    steps, batch = schedule.fit_to(normals.slices)
    losses: list[float] = []
    curve: list[float] = []
    _only_norms_train(network)
    for step, images in enumerate(itertools.islice(batches_of(normals, batch), steps), start=1):
        loss = loss_of(images)
        losses.append(loss.item())
        if not torch.isfinite(loss):
            raise DetectorError(f"training step {step} of {steps}: loss is {losses[-1]}, expected a finite number")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if step * POINTS // steps > (step - 1) * POINTS // steps:
            curve.append(sum(losses) / len(losses))
            losses.clear()
            if report:
                report(f"training step {step} of {steps}, loss {curve[-1]:.4g}")
    network.eval()
    if not all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values()):
        raise DetectorError(f"training step {steps} of {steps}: a weight is not finite; the last step was too long")
    return tuple(curve)


def check_normals(normals: Normals) -> None:
    """Stop before anything is learned from slices that have nothing to say; reads on until two slices differ.

    Raises:
        DetectorError: If there are fewer than two slices, or all are the same.
    """
    first: Tensor | None = None
    for found in normals():
        first = found.images[:1] if first is None else first
        if bool((found.images != first).any()):
            return
    if first is None or normals.slices < 2:
        raise DetectorError(f"{normals.slices} normal slices: training needs at least 2")
    raise DetectorError(f"{normals.slices} normal slices, all alike: nothing to learn from")


def batches_of(normals: Normals, size: int) -> Iterator[Tensor]:
    """Slices (size, C, S, S) without end; what an epoch leaves over opens the next one's first batch.

    So batch norm always sees as many slices as were asked for, and no more than two batches are held.
    """
    held: list[Tensor] = []
    for epoch in itertools.count():
        seen = 0
        for found in normals(epoch):
            seen += len(found.images)
            held.append(found.images)
            while sum(map(len, held)) >= size:
                joined = torch.cat(held)
                yield joined[:size]
                held = [joined[size:]] if len(joined) > size else []
        if not seen:
            raise DetectorError(f"epoch {epoch + 1}: no normal slices came, expected {normals.slices}")


def _only_norms_train(network: nn.Module) -> None:
    """Batch norm takes its statistics from the batch; dropout and stochastic depth stay off, so nothing is random."""
    network.eval()
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train()
