"""DANN: a discriminator tells the domains apart, and the features learn to deceive it."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.alignment.loss import AlignmentLoss, DomainBatch

HIDDEN = 256
STEEPNESS = 10.0


class _Reverse(torch.autograd.Function):
    """Identity forward, -factor times the gradient backward."""

    @staticmethod
    def forward(context: Any, features: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return features.view_as(features)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -context.factor * gradients[0], None


def reverse_gradient(features: Tensor, factor: float) -> Tensor:
    """The features themselves, whose gradient is multiplied by -factor on its way back (Ganin et al. 2016, eq. 16)."""
    reversed_: Tensor = _Reverse.apply(features, factor)
    return reversed_


def reversal_factor(done: float, *, low: float = 0.0, high: float = 1.0) -> float:
    """lambda(p) = 2 (high - low) / (1 + exp(-10 p)) - (high - low) + low, for the share p of the training done.

    Starts at `low`, so that the discriminator learns before it is obeyed, and ends near `high`.

    Source:
        Ganin et al. 2016, Domain-Adversarial Training of Neural Networks, section 5.2.2 (low 0, high 1).
    """
    span = high - low
    return 2 * span / (1 + math.exp(-STEEPNESS * done)) - span + low


class DomainAdversary(AlignmentLoss):
    """Binary cross-entropy of a domain discriminator behind gradient reversal.

    loss = (mean_i -log d(r(s_i)) + mean_j -log(1 - d(r(t_j)))) / 2

    where d is the discriminator's probability of `source` and r reverses the gradient by `reversal_factor`. The
    two sides count alike however many rows each has. At ln 2 the domains are not told apart.

    The discriminator has two hidden layers of 256 rectified units, fewer than the paper's 1024, since a hospital has
    hundreds of scans and not thousands; no batch norm, whose statistics would mix the domains. Its learning is that
    of the optimizer that gets its parameters.

    Args:
        num_features: F.
        seed: Of the discriminator's initial weights; the global generator is left as it was.

    Source:
        Ganin et al. 2016, Domain-Adversarial Training of Neural Networks, eq. 8, 9 and 16.
    """

    def __init__(self, num_features: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.discriminator = nn.Sequential(
                nn.Linear(num_features, HIDDEN),
                nn.ReLU(),
                nn.Linear(HIDDEN, HIDDEN),
                nn.ReLU(),
                nn.Linear(HIDDEN, 1),
            )

    def forward(self, batch: DomainBatch) -> Tensor:
        """The loss, a scalar."""
        factor = reversal_factor(batch.done)
        source = self.discriminator(reverse_gradient(batch.source, factor))
        target = self.discriminator(reverse_gradient(batch.target, factor))
        # softplus(-x) = -log sigmoid(x), softplus(x) = -log(1 - sigmoid(x))
        return (functional.softplus(-source).mean() + functional.softplus(target).mean()) / 2
