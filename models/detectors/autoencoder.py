"""Convolutional autoencoder: the floor that detectors on pretrained features have to beat."""

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.detectors.cells import Grid
from models.detectors.networks.autoencoder import SIDE, ConvolutionalAutoencoder
from models.detectors.trained import TrainedDetector
from models.detectors.training import Schedule


class Autoencoder(TrainedDetector):
    """Reconstruction of small grey slices; it looks at pixels alone, the backbone is not run.

    Slices become grey (mean over channels) and 64 pixels wide (linear, antialiased). The map is the squared error
    (x - f(x))^2 of each small pixel, enlarged to the slice; the score of a slice is its mean squared error, before
    enlarging. Runs in float32 whatever `reduced` says: the network is small, and errors are differences of near values.

    Source:
        Cai et al. 2024, Rethinking Autoencoders for Medical Anomaly Detection, and its code (AE4AD): latent size 16,
        Adam with rate 0.001, batches of 64, 250 epochs. Here training ends after 2,000 steps.
    """

    peaks: ClassVar[bool] = False  # the score is the mean of the map
    default_schedule: ClassVar[Schedule] = Schedule(epochs=250, steps=2000, batch=64)
    latent: ClassVar[int] = 16
    rate: ClassVar[float] = 1e-3

    def compared_grids(self) -> list[Grid]:
        """The small pixels, each in the middle of the pixels it stands for."""
        step = self.image_size / SIDE
        return [Grid(cells=SIDE, start=(step - 1) / 2, step=step, channels=1)]

    def build_network(self) -> nn.Module:
        """The autoencoder."""
        return ConvolutionalAutoencoder(self.latent)

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(parameters, lr=self.rate)

    def loss(self, network: nn.Module, images: Tensor) -> Tensor:
        """Mean squared error over slices and small pixels."""
        return squared_errors(network, small_grey(images)).mean()

    def measure(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared error (B,) and squared error of each pixel (B, S, S)."""
        errors = squared_errors(network, small_grey(images))
        return errors.mean(dim=(1, 2)), self.enlarged([errors])[0]


def small_grey(images: Tensor) -> Tensor:
    """Slices (B, C, S, S) in [0, 1] as grey images (B, 1, 64, 64) in [-0.5, 0.5]."""
    grey = images.float().mean(dim=1, keepdim=True) - 0.5
    return functional.interpolate(grey, size=(SIDE, SIDE), mode="bilinear", antialias=True)


def squared_errors(network: nn.Module, images: Tensor) -> Tensor:
    """(x - f(x))^2 of each pixel, shape (B, H, W), of images (B, 1, H, W)."""
    error: Tensor = network(images) - images
    return error.square()[:, 0]
