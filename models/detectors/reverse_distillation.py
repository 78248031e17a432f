"""Reverse distillation: from a narrow embedding, a decoder gives back a frozen encoder's maps of normal slices."""

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.detectors.networks.reverse import ReverseStudent
from models.detectors.trained import TrainedDetector
from models.detectors.training import Schedule


class ReverseDistillation(TrainedDetector):
    """Reverse distillation from one-class embedding (RD4AD).

    The map is the sum over stages of `cosine_maps`, each enlarged to the pixels of the slice and smoothed by a
    Gaussian of 4 pixels; the score of a slice is the map's maximum. (Some benchmarks multiply the stages' maps.)

    Source:
        Deng & Li 2022, Anomaly Detection via Reverse Distillation from One-Class Embedding: WideResNet-50's first
        three layers, Adam with rate 0.005 and betas 0.5 and 0.999 (0.99 in anomalib and here), batches of 16, 200
        epochs. Here training ends after 400 steps.
    """

    default_schedule: ClassVar[Schedule] = Schedule(epochs=200, steps=400, batch=16)
    sigma: ClassVar[float] = 4.0
    rate: ClassVar[float] = 0.005
    betas: ClassVar[tuple[float, float]] = (0.5, 0.99)

    def build_network(self) -> nn.Module:
        """Bottleneck and decoder for the maps of the stages."""
        return ReverseStudent(self.compared_grids())

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam with the paper's rate."""
        return torch.optim.Adam(parameters, lr=self.rate, betas=self.betas)

    def loss(self, network: nn.Module, images: Tensor) -> Tensor:
        """Sum over stages of 1 - cosine of the whole maps, mean over slices."""
        return torch.stack([cosine_loss(*pair) for pair in self.pairs(network, images)]).sum()

    def measure(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maximum of the map (B,) and the map (B, S, S)."""
        maps = self.enlarged(cosine_maps(*pair) for pair in self.pairs(network, images)).sum(dim=0)
        return maps.amax(dim=(1, 2)), maps

    def pairs(self, network: nn.Module, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The maps (B, C, h, w) of each stage, and what the network makes of them."""
        encoded = self.stage_maps(images)
        with self.mixed(images.device):
            decoded: list[Tensor] = network(encoded)
        return [(maps, given.float()) for maps, given in zip(encoded, decoded, strict=True)]


def cosine_maps(encoded: Tensor, decoded: Tensor) -> Tensor:
    """M = 1 - e . d / (||e|| ||d||) at each cell, in 0..2.

    Args:
        encoded, decoded: Features, shape (B, C, h, w) each.

    Returns:
        Shape (B, h, w).

    Source:
        Deng & Li 2022, eq. 1.
    """
    return (1 - functional.cosine_similarity(encoded, decoded, dim=1)).clamp(min=0)


def cosine_loss(encoded: Tensor, decoded: Tensor) -> Tensor:
    """L = 1 - e . d / (||e|| ||d||) with e, d all cells and channels (B, C h w) of a slice in one vector; mean over B.

    Source:
        Deng & Li 2022's published training, which joins the cells where eq. 2 of the paper takes the mean of eq. 1 over
        them: cells in which the encoder says little, such as the background, then weigh little.
    """
    return (1 - functional.cosine_similarity(encoded.flatten(1), decoded.flatten(1), dim=1)).mean()
