"""What the methods of test-time adaptation share: entropy, and the state in which a network is adapted."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from models.alignment.adabn import batch_norms
from models.classifier import SliceBagClassifier, pack


class Adapter(Protocol):
    """Adapts a classifier in place, one batch of unlabelled scans at a time."""

    @property
    def parameters(self) -> Sequence[nn.Parameter]:
        """All that a step may change."""

    def step(self, features: Callable[[], Tensor], mask: Tensor) -> float:
        """One step on a batch.

        Args:
            features: Runs the network on the batch's slices and gives their features (M, F) with gradient; it may be
                called more than once.
            mask: Slices that are there, shape (B, N), M of them.

        Returns:
            Mean entropy of the predictions before the step, in nats.

        Raises:
            AdaptationRefusedError: If the batch is too small or an entropy is not a number.
        """

    def account(self, steps: int) -> list[str]:
        """What there is to tell after so many steps, for the report."""


MakeAdapter = Callable[[SliceBagClassifier], Adapter]


def entropy(logits: Tensor) -> Tensor:
    """H_i = -sum_c p_ic log p_ic with p = softmax(logits), in nats, shape (B,), of logits (B, L)."""
    log_p = logits.log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


def bag_entropy(classifier: SliceBagClassifier, features: Tensor, mask: Tensor) -> Tensor:
    """Entropy of each bag's prediction, shape (B,), from features (M, F) of the slices that are there (B, N)."""
    return entropy(classifier.classify(pack(features, mask), mask))


@contextlib.contextmanager
def adapting(classifier: SliceBagClassifier, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Let only some parameters have gradients, and batch norm use each batch's statistics without keeping them.

    Everything else runs in evaluation mode. Modes and gradient flags are put back at the end.
    """
    chosen = {id(parameter) for parameter in parameters}
    layers = batch_norms(classifier)
    modes = [(module, module.training) for module in classifier.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in classifier.parameters()]
    classifier.eval()
    for parameter, _ in flags:
        parameter.requires_grad_(id(parameter) in chosen)
    for layer in layers:
        layer.train()
        layer.track_running_stats = False  # batch statistics, and the running ones stay as they are
    try:
        with torch.enable_grad():
            yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
        for module, mode in modes:
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
            parameter.grad = None
