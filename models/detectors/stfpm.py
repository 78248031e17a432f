"""STFPM: a student learns to say of normal slices what a frozen teacher says; where they differ is abnormal."""

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.detectors.networks.student import Student
from models.detectors.trained import TrainedDetector
from models.detectors.training import Schedule


class STFPM(TrainedDetector):
    """Student-teacher feature pyramid matching.

    The map is the product over stages of `distance_maps`, each enlarged to the pixels of the slice; the score of a
    slice is the map's maximum.

    Source:
        Wang et al. 2021, Student-Teacher Feature Pyramid Matching for Anomaly Detection: ResNet-18's first three
        layers, SGD with rate 0.4 and momentum 0.9, batches of 32, 100 epochs. Weight decay 0.001 as in anomalib. Here
        training ends after 400 steps, which is about ten epochs of 1,300 radiographs.
    """

    default_schedule: ClassVar[Schedule] = Schedule(epochs=100, steps=400, batch=32)
    rate: ClassVar[float] = 0.4
    momentum: ClassVar[float] = 0.9
    weight_decay: ClassVar[float] = 1e-3

    def build_network(self) -> nn.Module:
        """The student."""
        return Student(self.backbone, self.stages, seed=self.seed)

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """SGD with the paper's rate and momentum."""
        return torch.optim.SGD(parameters, lr=self.rate, momentum=self.momentum, weight_decay=self.weight_decay)

    def loss(self, network: nn.Module, images: Tensor) -> Tensor:
        """Sum over stages of the mean of the distance map over slices and cells (Wang et al. 2021, eq. 2 and 3)."""
        return torch.stack([cells.mean() for cells in self.distances(network, images)]).sum()

    def measure(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maximum of the map (B,) and the map (B, S, S)."""
        maps = self.enlarged(self.distances(network, images)).prod(dim=0)
        return maps.amax(dim=(1, 2)), maps

    def distances(self, network: nn.Module, images: Tensor) -> list[Tensor]:
        """Distance maps (B, h, h) of each stage between teacher and student."""
        with self.mixed(images.device):
            said: list[Tensor] = network(self.normalise(images))
        return [
            distance_maps(teacher, student.float())
            for teacher, student in zip(self.stage_maps(images), said, strict=True)
        ]


def distance_maps(teacher: Tensor, student: Tensor) -> Tensor:
    """D = 1/2 || t / ||t|| - s / ||s|| ||^2 at each cell, in 0..2.

    Args:
        teacher, student: Features, shape (B, C, h, w) each.

    Returns:
        Shape (B, h, w).

    Source:
        Wang et al. 2021, eq. 1.
    """
    difference = functional.normalize(teacher, dim=1) - functional.normalize(student, dim=1)
    return 0.5 * difference.square().sum(dim=1)
